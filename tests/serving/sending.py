"""Clients that send until a block ends."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager


@contextmanager
def sending(clients: Sequence[Callable[[threading.Event], None]]) -> Iterator[None]:
    """Each client in a thread of its own, which is waited for; its event is set when the block ends."""
    ending = threading.Event()
    threads = [threading.Thread(target=client, args=(ending,)) for client in clients]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ending.set()
        for thread in threads:
            thread.join()
