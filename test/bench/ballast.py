"""Memory at hand when a run begins.

A virtual machine may give free memory back to its host, and asking for it again costs several times an ordinary fault: up
to 3.7 CPU s for each GiB of new pages of tmpfs where 0.35 is usual. Every client needs the same new pages for the same
download, so that cost draws all ratios towards 1 and says nothing of the clients. The harness therefore touches memory before
every run; but what it touched is with the host again before slow clients have started. Here it is held until the clients are
up, and let go when the part that is measured begins.
"""
import os
import time

MIB = 1 << 20
PROBE = 32 * MIB


def available():
    """Bytes that the system could give to programs now."""
    with open('/proc/meminfo') as f:
        return next(int(line.split()[1]) << 10 for line in f if line.startswith('MemAvailable'))


class Ballast:
    """Touched memory, as a file on tmpfs that has no name."""

    def __init__(self, folder):
        self.folder = folder
        self.file = None
        self.new_page = None        # CPU s/GiB for new pages of tmpfs when the measured part of the last run began

    def load(self, gib):
        """Takes gib GiB, but at most half of what there is."""
        self.drop()
        self.new_page = None
        os.makedirs(self.folder, exist_ok=True)
        self.file = self._open()
        buf = bytes(8 * MIB)
        try:
            for _ in range(min(gib << 30, available() // 2) // len(buf)):
                self.file.write(buf)
        except OSError:             # this tmpfs is full: what it took has to do
            pass

    def drop(self):
        """Gives the memory to whoever wants some next; the first call after load counts."""
        if self.file is None:
            return
        self.file.close()
        self.file = None
        self.new_page = self._probe()

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
