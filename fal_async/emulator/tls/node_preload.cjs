"use strict";
// Leads a Node program that calls fal to an emulator: node --require THIS_FILE, or by NODE_OPTIONS.
//
// Node's fetch and WebSocket read no proxy variables. So connections are led where they are made: those to
// fal's hosts go to the emulator that HTTPS_PROXY names, all others where they were meant to. TLS goes on as
// if nothing had happened: the emulator must show a certificate for the host that was asked for. It has none
// for hosts of fal that it does not answer for, so these fail, instead of being called.

const net = require("node:net");

const OF_FAL = /(^|\.)(fal\.run|falrun\.com|fal\.ai|fal\.media)\.?$/i;

const emulator = address(process.env.HTTPS_PROXY || process.env.https_proxy);
const connect = net.Socket.prototype.connect;

net.Socket.prototype.connect = function (...args) {
  // connect(options), connect(port, host), or, from net and tls, connect([options, listener])
  const first = args[0];
  if (Array.isArray(first)) {
    first[0] = led(first[0]);
  } else if (first !== null && typeof first === "object") {
    args[0] = led(first);
  } else if (OF_FAL.test(args[1])) {
    args.splice(0, 2, emulator.port, emulator.host);
  }
  return connect.apply(this, args);
};

function led(options) {
  return OF_FAL.test(options.host) ? { ...options, ...emulator } : options;
}

function address(proxy) {
  if (!proxy) {
    throw new Error("HTTPS_PROXY is not set: it says where the emulator of fal is");
  }
  const url = new URL(proxy);
  return { host: url.hostname.replace(/^\[|\]$/g, ""), port: Number(url.port || 80) };
}
