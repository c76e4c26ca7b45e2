"""HOST PORT USER PASSWORD FILE: what paramiko can do, each step with what must come of it."""
import hashlib
import io
import sys

import paramiko

host, port, user, password, path = sys.argv[1:6]
transport = paramiko.Transport((host, int(port)))
transport.connect(username=user, password=password)
sftp = paramiko.SFTPClient.from_transport(transport)
content = open(path, "rb").read()

sftp.put(path, "large", confirm=True)
# Asks for the whole file at once.
back = io.BytesIO()
sftp.getfo("large", back)
assert back.getvalue() == content
with sftp.open("large", "rb") as file:
    assert file.check("sha256", 0, 0, 0) == hashlib.sha256(content).digest()

for name, text in (("x", b"hello"), ("y", b"world")):
    with sftp.open(name, "wb") as file:
        file.set_pipelined(True)
        file.write(text)
sftp.posix_rename("x", "y")
try:
    sftp.rename("y", "large")
    raise SystemExit("a rename over another file")
except IOError:
    pass
with sftp.open("y", "r+") as file:
    file.seek(1)
    file.write(b"E")
    file.seek(0)
    assert file.read() == b"hEllo"
with sftp.open("y", "a") as file:
    file.write(b"!")
assert sftp.open("y").read() == b"hEllo!"
sftp.truncate("y", 2)
sftp.chmod("y", 0o600)
sftp.utime("y", (5, 6))
found = sftp.stat("y")
assert (found.st_size, found.st_mode & 0o777, found.st_mtime) == (2, 0o600, 6), found
sftp.mkdir("d")
assert sorted(sftp.listdir(".")) == ["d", "large", "y"]
sftp.rmdir("d")
sftp.remove("y")
try:
    sftp.stat("y")
    raise SystemExit("a file that is gone")
except FileNotFoundError:
    pass
assert sftp.normalize("a/../b") == "/b"
sftp.close()
transport.close()
