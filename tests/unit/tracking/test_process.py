import subprocess
import sys

import psutil

from darts_core.tracking.process import is_gone, is_on_this_host, this_process


def test_this_process_is_there_and_an_ended_one_is_gone():
    assert not is_gone(this_process())
    host = this_process().split("@")[0]
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        tag = f"{host}@{child.pid}@{psutil.Process(child.pid).create_time():.0f}"
        assert not is_gone(tag)
        child.kill()
        while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
            pass
        assert is_gone(tag), "a zombie has ended"
    assert is_gone(tag)


def test_a_process_id_that_is_used_again_is_another_process():
    host, pid, start = this_process().split("@")
    assert is_gone(f"{host}@{pid}@{int(start) - 100}")


def test_processes_of_other_hosts_count_as_there():
    assert not is_gone("elsewhere@1@0")
    assert not is_on_this_host("elsewhere@1@0")
    assert not is_on_this_host("not a tag")
