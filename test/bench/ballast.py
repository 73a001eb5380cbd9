"""Memory at hand when a run begins.

A virtual machine may give free memory back to its host, and asking for it again costs several times an ordinary fault: up
to 3.7 CPU s for each GiB of new pages of tmpfs where 0.35 is usual. Every client needs the same new pages for the same
download, so that cost draws all ratios towards 1 and says nothing of the clients. The harness therefore touches memory before
every run; but what it touched is with the host again before slow clients have started. Here it is held until the clients are
up, and let go when the part that is measured begins.
"""
import os
import threading
import time

MIB = 1 << 20
PROBE = 32 * MIB
AHEAD = 2048 * MIB            # let go before it is needed; with less, and with all at once, new pages were dearer


def meminfo(key):
    """One figure of /proc/meminfo, bytes."""
    with open('/proc/meminfo') as f:
        return next(int(line.split()[1]) << 10 for line in f if line.startswith(key + ':'))


class Ballast:
    """Touched memory, as a file on tmpfs that has no name.

    What is let go at once is with the host again before the end of a run. So some of it is let go when the measured part
    begins, and the rest as memory is used: there is always the same amount of free memory.
    """

    def __init__(self, folder):
        self.folder = folder
        self.file = None
        self.size = 0
        self.falling = None         # the thread that lets memory go
        self.new_page = None        # CPU s/GiB for new pages of tmpfs when the measured part of the last run began

    def load(self, gib):
        """Takes gib GiB, but at most half of what there is."""
        self.end()
        self.new_page = None
        os.makedirs(self.folder, exist_ok=True)
        self.file = self._open()
        buf = bytes(8 * MIB)
        try:
            for _ in range(min(gib << 30, meminfo('MemAvailable') // 2) // len(buf)):
                self.file.write(buf)
        except OSError:             # this tmpfs is full: what it took has to do
            pass
        self.size = os.fstat(self.file.fileno()).st_size

    def drop(self):
        """Begins to give the memory to whoever wants some; the first call after load counts."""
        if self.file is None or self.falling is not None:
            return
        level = meminfo('MemFree') + AHEAD
        self._cut(AHEAD)
        self.new_page = self._probe()
        self.over = threading.Event()
        self.falling = threading.Thread(target=self._fall, args=(level,), daemon=True)
        self.falling.start()

    def end(self):
        """Gives up what is left."""
        if self.falling is not None:
            self.over.set()
            self.falling.join()
            self.falling = None
        if self.file is not None:
            self.file.close()
            self.file = None

    def _fall(self, level):
        while self.size and not self.over.wait(0.005):
            self._cut(level - meminfo('MemFree'))

    def _cut(self, n):
        if n > 0:
            self.size = max(0, self.size - n)
            self.file.truncate(self.size)

    def _open(self):
        path = os.path.join(self.folder, 'ballast-%d' % os.getpid())
        f = open(path, 'wb', buffering=0)
        os.unlink(path)
        return f

    def _probe(self):
        buf = bytes(MIB)
        with self._open() as f:
            before = time.process_time()
            for _ in range(PROBE // len(buf)):
                f.write(buf)
            return (time.process_time() - before) / (PROBE / (1 << 30))
