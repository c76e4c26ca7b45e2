"""HOST PORT USER PASSWORD COUNT PROCESS: so many sessions at once, and how much memory the server has had."""
import asyncio
import os
import sys

import asyncssh

host, port, user, password, count, process = sys.argv[1:7]
content = os.urandom(2_000_000)


async def one(number):
    async with asyncssh.connect(host, int(port), username=user, password=password, known_hosts=None) as ssh:
        async with ssh.start_sftp_client() as sftp:
            async with sftp.open(f"m{number}", "wb") as file:
                await file.write(content)
            async with sftp.open(f"m{number}", "rb") as file:
                assert await file.read() == content


async def main():
    await asyncio.gather(*[one(number) for number in range(int(count))])
    for line in open(f"/proc/{process}/status"):
        if line.startswith("VmHWM"):
            print(line.split()[1])


asyncio.run(main())
