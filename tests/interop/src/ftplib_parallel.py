# Many transfers over several TLS 1.3 or plain sessions at once with Python's ftplib:
# ADDRESS PORT USER PASSWORD tls|plain SESSIONS UP-FOLDER DOWN-FOLDER, then get:NAME or put:NAME on standard input.
# Each line of the answer is `done`, `425` or `failed`, and the errand. A 425 is an answer, so that session goes on.
import concurrent.futures, ftplib, os, queue, ssl, sys

host, port, user, password, wire, sessions, up, down = sys.argv[1:]
errands = queue.SimpleQueue()
for line in sys.stdin:
    errands.put(line.strip())


def connect():
    if wire == "plain":
        ftp = ftplib.FTP()
    else:
        context = ssl._create_unverified_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        ftp = ftplib.FTP_TLS(context=context)
    ftp.connect(host, int(port), timeout=120)
    ftp.login(user, password)
    if wire == "tls":
        ftp.prot_p()
    return ftp


def transfer(ftp, errand):
    verb, _, name = errand.partition(":")
    if verb == "get":
        whole = []
        ftp.retrbinary("RETR " + name, whole.append)
        with open(os.path.join(down, name), "wb") as file:
            file.write(b"".join(whole))
    else:
        with open(os.path.join(up, name), "rb") as file:
            ftp.storbinary("STOR " + name, file)


def session(_):
    answers, ftp = [], connect()
    while True:
        try:
            errand = errands.get_nowait()
        except queue.Empty:
            ftp.quit()
            return answers
        try:
            transfer(ftp, errand)
            answers.append("done " + errand)
        except ftplib.error_temp as error:
            answers.append(("425 " if str(error).startswith("425") else "failed ") + errand + " " + str(error))
        except (OSError, EOFError, ValueError, ftplib.Error) as error:
            answers.append("failed " + errand + " " + repr(error))
            ftp.close()
            ftp = connect()


with concurrent.futures.ThreadPoolExecutor(int(sessions)) as pool:
    for answers in pool.map(session, range(int(sessions))):
        for answer in answers:
            print(answer)
