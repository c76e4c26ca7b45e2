"""HOST PORT USER PASSWORD FILE: what asyncssh can do, each step with what must come of it."""
import asyncio
import sys

import asyncssh

host, port, user, password, path = sys.argv[1:6]
content = open(path, "rb").read()


async def main():
    async with asyncssh.connect(host, int(port), username=user, password=password, known_hosts=None) as ssh:
        async with ssh.start_sftp_client() as sftp:
            await sftp.put(path, "large")
            async with sftp.open("large", "rb") as file:
                assert await file.read() == content
            await sftp.mkdir("d")
            await sftp.put(path, "d/x")
            await sftp.posix_rename("d/x", "large")
            assert sorted(await sftp.listdir("d")) == [".", ".."] or await sftp.listdir("d") == []
            # From the end to the beginning, all at once.
            file = await sftp.open("d/w", "wb")
            blocks = [bytes([number]) * 1000 for number in range(50)]
            await asyncio.gather(*[file.write(blocks[n], n * 1000) for n in reversed(range(50))])
            await file.fsync()
            await file.close()
            async with sftp.open("d/w", "rb") as file:
                assert await file.read() == b"".join(blocks)
            assert (await sftp.statvfs(".")).blocks > 0
            await sftp.rmtree("d")
            # Several sessions on one connection.
            async with ssh.start_sftp_client() as other:
                assert (await other.stat("large")).size == len(content)


asyncio.run(main())
