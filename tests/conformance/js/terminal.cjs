"use strict";
// Runs JavaScript for the tests beside this file. A line of stdin is {"code", "given"}: the body of an
// async function, and what it finds under the name `given`. Its outcome is a line of stdout: {"value"} or
// {"error"}.

const { File } = require("node:buffer");
const readline = require("node:readline");
const { ApiError, ValidationError, createFalClient, fal } = require("@fal-ai/client");

const PATIENCE = 30_000;
const AsyncFunction = (async () => {}).constructor;
const setTimeout = globalThis.setTimeout;

const tools = {
  ApiError,
  File, // a global name from Node 20 on
  ValidationError,
  createFalClient,
  described,
  fal,
  hastily,
  promised,
  require,
};

async function outcome({ code, given }) {
  let clock;
  const late = new Promise((_, reject) => {
    clock = setTimeout(() => reject(new Error("nothing came of it")), PATIENCE);
  });
  try {
    const work = new AsyncFunction("given", ...Object.keys(tools), code);
    const value = await Promise.race([work(given, ...Object.values(tools)), late]);
    return { value: value ?? null };
  } catch (error) {
    return { error: described(error) };
  } finally {
    clearTimeout(clock);
  }
}

/** What a program can see of an error, as JSON. */
function described(error) {
  const { name, message, status, body, requestId } = error;
  const facts = { class: error.constructor.name, name, message, status, body, requestId };
  if (error instanceof ApiError) facts.isUserTimeout = error.isUserTimeout;
  if (error instanceof ValidationError) facts.fieldErrors = error.fieldErrors;
  return facts;
}

/** Call `action` while the client's long waits last a hundredth; gives them, as they were asked for. */
async function hastily(action) {
  const waits = [];
  globalThis.setTimeout = (callback, delay, ...rest) => {
    const long = delay >= 300 && new Error().stack.includes("@fal-ai/client");
    if (long) waits.push(delay);
    return setTimeout(callback, long ? delay / 100 : delay, ...rest);
  };
  try {
    return { value: await action(), waits };
  } catch (error) {
    return { error: described(error), waits };
  } finally {
    globalThis.setTimeout = setTimeout;
  }
}

/** A promise, and the functions that keep or break it. */
function promised() {
  const made = {};
  made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }));
  return made;
}

(async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    process.stdout.write(`${JSON.stringify(await outcome(JSON.parse(line)))}\n`);
  }
})();
