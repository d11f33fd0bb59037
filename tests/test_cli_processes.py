"""The console script in processes of its own: kills, several of them, a Dask cluster."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import wsss_nonsalient
from wsss_nonsalient.cli._cluster import on_cluster
from wsss_nonsalient.cli._run import outcomes
from wsss_nonsalient.cli._task import Task, WorkersLostError

from .cli_folders import COMMANDS, Folders, command, die_of_it, environment, run, take_a_while


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


@pytest.mark.parametrize(
    ("name", "delay", "jobs"),
    [("labels", 0.0, 1), ("labels", 0.1, 1), ("labels", 0.05, 2), ("convert", 0.1, 1)],
)
def test_killed_and_started_again(tmp_path: Path, name: str, delay: float, jobs: int) -> None:
    pytest.importorskip("joblib")
    folders = Folders(tmp_path, images=300).write("psa")
    arguments = {"labels": folders.labels, "convert": folders.convert}[name]
    assert run(*arguments("psa", "whole")) == 0
    whole = folders.read("whole")
    process = subprocess.Popen(
        command(*arguments("psa", "out", f"--jobs={jobs}")), env=environment()
    )
    deadline = time.monotonic() + 600  # a busy machine takes a minute to import torch
    while not folders.read("out") and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it was done before it was killed"
    assert 0 < len(folders.read("out")) < len(whole)
    assert run(*arguments("psa", "out")) == 0
    assert folders.read("out") == whole


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
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    distributed = pytest.importorskip("distributed")
    dask = pytest.importorskip("dask")
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as started,
    ):
        yield started


@pytest.mark.filterwarnings("default")
def test_a_dask_cluster_gives_what_one_process_gives(
    tmp_path: Path, cluster: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = Folders(tmp_path, images=12).write("psa")
    (tmp_path / "saliency" / "2007_000007.png").write_bytes(b"")
    assert run(*folders.labels("psa", "one")) == 1
    one = capsys.readouterr()
    assert run(*folders.labels("psa", "dask", f"--dask={cluster.scheduler_address}")) == 1
    dask = capsys.readouterr()
    assert dask.err == one.err
    assert folders.read("dask") == folders.read("one")


@pytest.mark.filterwarnings("default")
def test_an_image_that_kills_its_dask_worker_fails_alone(cluster: Any) -> None:
    tasks = [Task(name) for name in ("one", "deadly", "two")]
    results = {r.image_id: r for r in on_cluster(die_of_it, tasks, cluster.scheduler_address)}
    assert set(results) == {"one", "deadly", "two"}
    assert "its Dask workers died" in str(results["deadly"].error)
    assert any(results[name].value == name for name in ("one", "two"))  # one may have been beside


@pytest.mark.filterwarnings("default")
def test_a_dask_cluster_that_goes_away(cluster: Any) -> None:
    address = cluster.scheduler_address
    results = on_cluster(take_a_while, [Task(str(k)) for k in range(200)], address)
    assert next(results).error is None
    cluster.close()
    with pytest.raises(WorkersLostError, match=f"^--dask: the cluster at {address} is gone$"):
        list(results)


@pytest.mark.filterwarnings("default")
def test_a_dask_cluster_without_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr("wsss_nonsalient.cli._cluster._WORKERS", 0.1)
    with (
        distributed.LocalCluster(n_workers=0, dashboard_address=None) as empty,
        pytest.raises(WorkersLostError, match="has no worker after 0.1 s"),
    ):
        list(on_cluster(die_of_it, [Task("one")], empty.scheduler_address))


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("scheduler", "--dask: missing port number"),
        ("http://scheduler:8786", "--dask: unknown address scheme"),
        ("tcp://127.0.0.1:1", "--dask: no scheduler at tcp://127.0.0.1:1"),
    ],
)
def test_no_dask_cluster_there(
    folders: Folders, address: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("distributed")
    assert run(*folders.labels("psa", "out", f"--dask={address}", "--overwrite")) == 2
    assert message in capsys.readouterr().err
    assert not (folders.root / "out").exists()


def test_a_local_process_that_dies_ends_the_run() -> None:
    pytest.importorskip("joblib")
    tasks = [Task(name) for name in ("one", "deadly", "two")]
    args = Namespace(dask=None, jobs=2, quiet=True)
    with pytest.raises(WorkersLostError, match="^a worker process was killed, .*--jobs"):
        list(outcomes(die_of_it, tasks, args))


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
