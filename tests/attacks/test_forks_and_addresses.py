"""A fork while another thread compiles, and a sweep at an address where no scheduler is."""

import os
import socket
import threading
import time

import pytest
from forked_child import run_in_child
from toy_sweep import TOY, ToySource

from tinycnn import sweep


@pytest.mark.kernels
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_child_that_is_forked_while_another_thread_compiles_can_compile():
    """The other thread holds the compiler's lock at the fork, and does not exist in the child."""
    from numba.core.compiler_lock import global_compiler_lock

    import tinycnn.ground.compiled_code  # noqa: F401  registers what happens at a fork

    begun, steps = threading.Event(), []

    def compiles():
        with global_compiler_lock:
            begun.set()
            time.sleep(0.2)
            steps.append("compiled")

    def child():
        with global_compiler_lock:
            return steps == ["compiled"]  # the fork has waited

    thread = threading.Thread(target=compiles)
    thread.start()
    assert begun.wait(30)
    assert run_in_child(child) == 0
    thread.join()
    assert run_in_child(lambda: run_in_child(child) == 0) == 0  # a fork in a forked process
    with global_compiler_lock:
        assert run_in_child(child) == 0  # a fork by the thread that has the lock


@pytest.mark.parametrize(
    "address, message",
    {
        "tcp://127.0.0.1": "expected the address of a scheduler, as tcp://host:8786",
        "tcp://:8786": "expected the address of a scheduler",
        "nonsense": "expected the address of a scheduler",
        "127.0.0.1:port": "not the address of a scheduler",
        "tcp://127.0.0.1:99999": "not the address of a scheduler",
        "tcp://no-such-host.invalid:8786": "no Dask scheduler answers",
        f"tcp://{'x' * 70}.invalid:8786": "no Dask scheduler answers",
        "closed": "no Dask scheduler answers",
    }.items(),
)
def test_an_address_without_a_scheduler_is_said_before_dask_is_asked(
    tmp_path, monkeypatch, address, message
):
    """Dask's client would then keep the process from ending."""
    distributed = pytest.importorskip("distributed", reason="the extra `sweep` is not installed")
    monkeypatch.setattr(distributed, "Client", None)
    if address == "closed":
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    trials = sweep.grid(**TOY, loss=["none"])
    with pytest.raises(sweep.SweepError, match=message):
        sweep.run_on_cluster(trials, ToySource(), tmp_path, address, timeout_s=0.3)
