"""``fal-async emulator --tls``: what it prints is what other programs need."""

from __future__ import annotations

import json
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import CHECKOUT, Shell

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are something else there")


def exported(lines: list[str]) -> dict[str, str]:
    """What a shell makes of the lines that are to be copied."""
    words = [shlex.split(line) for line in lines if line.strip().startswith("export ")]
    return dict(assignment.split("=", 1) for _, assignment in words)


def printed(process: subprocess.Popen[str]) -> list[str]:
    """All that it says before it serves: up to the empty line at the end."""
    assert process.stdout is not None
    lines: list[str] = []
    while [line.strip() for line in lines].count("") < 2:
        lines.append(process.stdout.readline())
        assert lines[-1], lines
    return lines


def test_in_the_environment_that_it_prints_its_own_client_and_curl_find_it(
    shell: Shell, tmp_path: Path
) -> None:
    authority = tmp_path / "an authority.pem"
    with shell.start("emulator", "--port", "0", "--tls", "--ca", str(authority)) as process:
        lines = printed(process)
        environment = exported(lines)
        here = environment | {"PYTHONPATH": str(CHECKOUT)}
        with shell.start("run", "emulator/echo", "i=1", env=here) as call:
            answer, _ = call.communicate(timeout=20)
        curl = shutil.which("curl")
        answers = [answer]
        if curl is not None:
            done = subprocess.run(
                [curl, "-sS", "https://fal.run/emulator/echo", "-d", '{"i":1}'],
                env=environment,
                capture_output=True,
                check=True,
                timeout=20,
            )
            answers.append(done.stdout.decode())
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    assert process.returncode == 0
    assert [json.loads(answer) for answer in answers] == [{"i": 1}] * len(answers)
    assert lines[0].strip() == environment["HTTPS_PROXY"] == environment["https_proxy"]
    assert environment["SSL_CERT_FILE"] == str(authority)
    assert environment["FAL_KEY"] == "emulator:any-key"


def test_a_key_that_was_given_is_not_printed(shell: Shell) -> None:
    with shell.start("emulator", "--port", "0", "--tls", "--key", "id:secret") as process:
        lines = printed(process)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    assert "HTTPS_PROXY" in exported(lines)
    assert "FAL_KEY" not in exported(lines)
    assert not any("secret" in line for line in lines)


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("ending", ["SIGTERM", "SIGHUP"])
def test_its_own_copy_of_the_authority_is_gone_when_it_has_ended(ending: str, shell: Shell) -> None:
    with shell.start("emulator", "--port", "0", "--tls") as process:
        authority = Path(exported(printed(process))["SSL_CERT_FILE"])
        assert authority.exists()
        process.send_signal(signal.Signals[ending])
        process.communicate(timeout=20)
    assert not authority.parent.exists()


def test_an_authority_needs_tls(shell: Shell) -> None:
    result = shell.run("emulator", "--ca", "ca.pem")
    assert result.exit_code == 2
    assert "--ca goes with --tls" in result.stderr


def test_an_authority_that_cannot_be_written_is_told_in_a_sentence(
    shell: Shell, tmp_path: Path
) -> None:
    file = tmp_path / "nowhere" / "ca.pem"
    result = shell.run("emulator", "--port", "0", "--tls", "--ca", str(file))
    assert result.exit_code == 2
    assert f"--ca {file}: No such file or directory" in result.stderr


def test_where_trustme_is_missing_a_sentence_says_what_to_install(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "trustme", None)
    result = shell.run("emulator", "--tls")
    assert result.exit_code == 2
    assert "TLS needs trustme: pip install 'fal-async[emulator]'" in result.stderr
