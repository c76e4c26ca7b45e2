# One errand with Python's ftplib: ADDRESS PORT USER PASSWORD WIRE MODE ERRAND ARGUMENT...
# ftplib never resumes a TLS session. Names are bytes, seen as Latin-1.
import ftplib, os, ssl, sys

host, port, user, password, wire, mode, errand, *arguments = [os.fsencode(a).decode("latin-1") for a in sys.argv[1:]]


class ImplicitFTP_TLS(ftplib.FTP_TLS):
    @property
    def sock(self):
        return self._sock

    @sock.setter
    def sock(self, value):
        if value is not None and not isinstance(value, ssl.SSLSocket):
            value = self.context.wrap_socket(value)
        self._sock = value


def connect():
    if wire == "Plain":
        ftp = ftplib.FTP(encoding="latin-1")
    else:
        context = ssl._create_unverified_context()
        context.minimum_version = context.maximum_version = (
            ssl.TLSVersion.TLSv1_2 if wire.endswith("12") else ssl.TLSVersion.TLSv1_3
        )
        kind = ImplicitFTP_TLS if wire.startswith("Implicit") else ftplib.FTP_TLS
        ftp = kind(context=context, encoding="latin-1")
    ftp.connect(host, int(port), timeout=120)
    if wire.startswith("Explicit"):
        ftp.auth()
    ftp.login(user, password)
    if wire != "Plain":
        ftp.prot_p()
    if mode == "Epsv":
        ftp.af = __import__("socket").AF_INET6  # makes makepasv() say EPSV; the host is still the control host
    ftp.set_pasv(mode in ("Pasv", "Epsv"))
    return ftp


def local(folder, name):
    return os.path.join(folder, name).encode("latin-1")


def main():
    ftp = connect()
    if errand == "list":
        ftp.dir()
    elif errand == "get":
        for name in arguments[1:]:
            with open(local(arguments[0], name), "wb") as file:
                ftp.retrbinary("RETR " + name, file.write)
    elif errand == "put":
        for name in arguments[1:]:
            with open(local(arguments[0], name), "rb") as file:
                ftp.storbinary("STOR " + name, file)
    elif errand == "resume-get":
        path = local(*arguments)
        with open(path, "ab") as file:
            ftp.retrbinary("RETR " + arguments[1], file.write, rest=os.path.getsize(path))
    elif errand == "resume-put":
        with open(local(*arguments), "rb") as file:
            ftp.voidcmd("TYPE I")  # the SIZE of a text is something else
            there = ftp.size(arguments[1])
            file.seek(there)
            ftp.storbinary("STOR " + arguments[1], file, rest=there)
    elif errand == "rename":
        ftp.rename(*arguments)
    elif errand == "delete":
        ftp.delete(*arguments)
    elif errand == "mkdir":
        ftp.mkd(*arguments)
    elif errand == "rmdir":
        ftp.rmd(*arguments)
    else:
        sys.exit("no such errand: " + errand)
    ftp.quit()


if __name__ == "__main__":
    main()
