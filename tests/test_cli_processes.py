"""The console script in processes of its own: kills, several of them, a Dask cluster."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

import wsss_nonsalient
from wsss_nonsalient.cli._run import _parallel

from .cli_folders import (
    COMMANDS,
    Folders,
    command,
    environment,
    run,
)


@pytest.mark.parametrize("argv", [("--version",), *((name, "--help") for name in COMMANDS)])
def test_version_and_help(argv: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*argv) == 0
    out = capsys.readouterr().out
    if argv == ("--version",):
        assert out == f"wsss-nonsalient {wsss_nonsalient.__version__}\n"
    else:
        assert "example" in out
        assert all(len(line) <= 100 for line in out.splitlines())


def test_python_m_is_the_same_program() -> None:
    result = subprocess.run(
        command("--version"), capture_output=True, text=True, check=True, env=environment()
    )
    assert result.stdout == f"wsss-nonsalient {wsss_nonsalient.__version__}\n"
    result = subprocess.run(
        command("labels", "--cams", "nowhere"), capture_output=True, text=True, env=environment()
    )
    assert result.returncode == 2


@pytest.mark.parametrize(("delay", "jobs"), [(0.0, 1), (0.1, 1), (0.05, 2)])
def test_killed_and_started_again(tmp_path: Path, delay: float, jobs: int) -> None:
    pytest.importorskip("joblib")
    folders = Folders(tmp_path, images=300).write("psa")
    assert run(*folders.labels("psa", "whole")) == 0
    argv = command(*folders.labels("psa", "out", f"--jobs={jobs}"))
    process = subprocess.Popen(argv, env=environment())
    deadline = time.monotonic() + 60
    while not folders.read("out") and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it was done before it was killed"
    assert 0 < len(folders.read("out")) < 300
    assert run(*folders.labels("psa", "out")) == 0
    assert folders.read("out") == folders.read("whole")


def test_two_processes_give_what_one_gives(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("joblib")
    folders = Folders(tmp_path, images=12).write("irn")
    (tmp_path / "irn" / "2007_000005.npy").write_bytes(b"")
    assert run(*folders.labels("irn", "one")) == 1
    one = capsys.readouterr()
    assert run(*folders.labels("irn", "two", "--jobs=2")) == 1
    two = capsys.readouterr()
    assert two.err == one.err
    assert folders.read("two") == folders.read("one")
    argv = ["score", f"--predictions={tmp_path}/one", f"--targets={tmp_path}/predictions"]
    assert run(*argv, "--num-classes=21") == 0
    scores = capsys.readouterr().out
    assert run(*argv, "--num-classes=21", "--jobs=2") == 0
    assert capsys.readouterr().out == scores


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    distributed = pytest.importorskip("distributed")
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as started:
        yield started.scheduler_address


@pytest.mark.filterwarnings("default")
def test_a_dask_cluster_gives_what_one_process_gives(
    tmp_path: Path, cluster: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = Folders(tmp_path, images=12).write("psa")
    (tmp_path / "saliency" / "2007_000007.png").write_bytes(b"")
    assert run(*folders.labels("psa", "one")) == 1
    one = capsys.readouterr()
    assert run(*folders.labels("psa", "dask", f"--dask={cluster}")) == 1
    dask = capsys.readouterr()
    assert dask.err == one.err
    assert folders.read("dask") == folders.read("one")


@pytest.mark.parametrize(
    ("module", "option"), [("joblib", "--jobs=2"), ("distributed", "--dask=x")]
)
def test_a_missing_package_is_named(
    folders: Folders,
    module: str,
    option: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("joblib")
    monkeypatch.setitem(sys.modules, module, None)
    assert run(*folders.labels("psa", "out", option)) == 2
    assert f"{module} is not installed; pip install" in capsys.readouterr().err
    assert run(*folders.labels("psa", "out")) == 0


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("kind", ["KilledWorker", "FutureCancelledError", "CommClosedError"])
def test_lost_workers_end_a_run_as_any_broken_pool_does(cluster: str, kind: str) -> None:
    distributed = pytest.importorskip("distributed")
    error = {
        "KilledWorker": distributed.KilledWorker("a task", SimpleNamespace(address="tcp://x"), 3),
        "FutureCancelledError": distributed.client.FutureCancelledError("a task", "lost"),
        "CommClosedError": distributed.comm.CommClosedError("closed"),
    }[kind]
    with (
        pytest.raises(BrokenExecutor, match=f"--dask: workers were lost: {kind}"),
        _parallel(Namespace(dask=cluster)),
    ):
        raise error
