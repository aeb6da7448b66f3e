import copy
import errno
import gc
import os
import threading

import pytest
import torch

from darts_core.runtime import workspace
from darts_core.runtime.workspace import Workspace

LIKE = torch.zeros(1, dtype=torch.float64)


def test_a_tensor_of_the_right_kind_and_shape():
    x = Workspace().new_empty(torch.zeros(1), (2, 3, 4))
    assert x.shape == (2, 3, 4)
    assert x.dtype == torch.float32
    assert x.is_contiguous()


def test_the_block_is_used_again_when_nobody_holds_it():
    workspace = Workspace()
    first = workspace.new_empty(LIKE, (100,))
    place = first.data_ptr()
    del first
    assert workspace.new_empty(LIKE, (30,)).data_ptr() == place


def test_whoever_holds_a_view_holds_the_block():
    workspace = Workspace()
    kept = workspace.new_empty(LIKE, (10, 10))[3:4].fill_(1.0)
    other = workspace.new_empty(LIKE, (10, 10)).fill_(2.0)
    assert torch.equal(kept, torch.ones_like(kept))
    assert torch.equal(other, torch.full_like(other, 2.0))


def test_a_graph_that_saved_it_holds_the_block():
    workspace = Workspace()
    x = torch.ones(5, dtype=torch.float64, requires_grad=True)
    product = (x * workspace.new_empty(LIKE, (5,)).fill_(3.0)).sum()
    workspace.new_empty(LIKE, (5,)).fill_(7.0)
    (grad,) = torch.autograd.grad(product, x, retain_graph=True)
    assert torch.equal(grad, torch.full_like(grad, 3.0))
    del product
    gc.collect()
    place = workspace.new_empty(LIKE, (5,)).data_ptr()
    assert workspace.new_empty(LIKE, (5,)).data_ptr() == place


def test_it_grows_and_what_was_lent_before_stays_as_it_was():
    workspace = Workspace()
    small = workspace.new_empty(LIKE, (4,)).fill_(1.0)
    large = workspace.new_empty(LIKE, (1 << 16,)).fill_(2.0)
    assert torch.equal(small, torch.ones_like(small))
    del small, large
    grown = workspace.new_empty(LIKE, (1 << 16,)).fill_(3.0)
    assert grown.sum() == 3.0 * (1 << 16)
    place = grown.data_ptr()
    del grown
    assert workspace.new_empty(LIKE, (4,)).data_ptr() == place


def test_a_tensor_outlives_its_workspace():
    x = Workspace().new_empty(LIKE, (1 << 16,)).fill_(1.0)
    gc.collect()
    assert x.sum() == 1 << 16


def test_nothing_and_other_devices():
    workspace = Workspace()
    assert workspace.new_empty(LIKE, (0, 3)).shape == (0, 3)
    assert workspace.new_empty(LIKE.to("meta"), (1 << 40,)).is_meta


def test_a_copy_has_its_own_block():
    workspace = Workspace()
    x = workspace.new_empty(LIKE, (4,))
    assert copy.deepcopy(workspace).new_empty(LIKE, (4,)).data_ptr() != x.data_ptr()


def test_threads_never_share_it():
    workspace, faults = Workspace(), []

    def use(number):
        for _ in range(300):
            x = workspace.new_empty(LIKE, (500,)).fill_(number)
            if not torch.equal(x, torch.full_like(x, number)):
                faults.append(number)

    threads = [threading.Thread(target=use, args=(float(number),)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_process_writes_to_its_own():
    x = Workspace().new_empty(LIKE, (4,)).fill_(1.0)
    child = os.fork()
    if child == 0:
        memoryview(x.numpy())[0] = 2.0
        os._exit(0)
    os.waitpid(child, 0)
    assert torch.equal(x, torch.ones_like(x))


def test_no_memory_is_told_as_such(monkeypatch):
    def full(*args, **options):
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(workspace.mmap, "mmap", full)
    with pytest.raises(MemoryError, match=r"No 16 bytes for what a cell keeps \(Cannot allocate memory\)"):
        workspace.Workspace().new_empty(torch.zeros(1), (4,))
