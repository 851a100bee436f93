"""``fal-async emulator --openapi``: models that documents describe, served beside the others."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import pytest

from fal_async.cli.describing import described
from tests.cli.conftest import Shell
from tests.cli.test_emulator_command import pointed

DOCUMENTS = Path(__file__).parents[1] / "emulator" / "openapi" / "documents"


@pytest.mark.skipif(sys.platform == "win32", reason="signals are something else there")
def test_models_of_documents_are_served_with_the_run_time_of_all(shell: Shell) -> None:
    documents = ("text_to_image.json", "llm.json")
    options = [word for name in documents for word in ("--openapi", str(DOCUMENTS / name))]
    with shell.start("emulator", "--port", "0", "--run-time", "0.01", *options) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        words = ("atelier/brush/text-to-image", "prompt=a cat", "seed=7", "num_images=2")
        with shell.start("run", *words, env=pointed(url) | {"FAL_KEY": "any:key"}) as call:
            answer, _ = call.communicate(timeout=20)
        process.send_signal(signal.SIGINT)
        _, log = process.communicate(timeout=20)
    output = json.loads(answer)
    assert output["seed"] == 7
    assert len(output["images"]) == 2
    assert "received: run 1; ran: 1, billed: 1 (1 units)" in log


def test_an_application_is_given_its_id_and_a_file_may_have_a_name_like_that(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ids = [model.id for model in described(f"you/app={DOCUMENTS / 'application.json'}")]
    assert ids == ["you/app", "you/app/speak", "you/app/shape"]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "you").mkdir()
    (tmp_path / "you" / "app=doc.json").write_bytes((DOCUMENTS / "llm.json").read_bytes())
    assert [model.id for model in described("you/app=doc.json")] == ["letters/any-llm"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "doc.json: this is no JSON"),
        ("{}", 'doc.json: #: this is no OpenAPI document: it has no "openapi"'),
        ('{"openapi": "3.1.0", "paths": {"/": {"post": {}}}}', "name it, as owner/app"),
        (None, "doc.json: there is no such file or folder"),
    ],
)
def test_a_document_that_nothing_can_be_made_of_is_a_usage_error(
    shell: Shell, content: str | None, sentence: str
) -> None:
    path = shell.folder / "doc.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    result = shell.run("emulator", "--openapi", str(path))
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"--openapi {path}" in result.stderr
    assert sentence in result.stderr
