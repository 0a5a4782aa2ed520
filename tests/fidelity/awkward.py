"""Makes a tree with one of each awkward thing, and compares two trees in every attribute.

    awkward.py make DIR [LEVELS]
    awkward.py compare DIR DIR      # says every difference; exit 1 if there is one

It knows nothing of the tools it judges. Everything goes through directory handles, so that a tree may be deeper
than a path may be long (PATH_MAX). Needs the superuser.
"""

import os
import socket
import stat
import struct
import sys

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NOATIME


def write(path, content=b"x"):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)


def posix_acl(*entries):
    """As the kernel keeps it: version 2, then tag, permissions and id of each entry (acl(5))."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


UNDEFINED = 0xFFFFFFFF
ACL = posix_acl((1, 7, UNDEFINED), (2, 5, 4242), (4, 5, UNDEFINED), (16, 7, UNDEFINED), (32, 0, UNDEFINED))
# cap_net_raw=ep, version 2 (capabilities(7)).
CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)


def make(root, levels):
    os.makedirs(root)
    at = lambda *parts: os.path.join(root, *parts)
    write(at("links/a/one"), os.urandom(70_000))
    os.makedirs(at("links/b/c"))
    os.link(at("links/a/one"), at("links/b/c/two"))
    os.link(at("links/a/one"), at("three"))
    write(at("links/large"), os.urandom(5 << 20))
    os.link(at("links/large"), at("links/b/large too"))
    os.symlink(b"nowhere/\xff\n", at("links/dangling"))
    os.symlink("fifo", at("links/to a fifo"))
    os.mkfifo(at("links/fifo"))
    os.link(at("links/fifo"), at("links/fifo too"))
    with open(at("sparse"), "wb") as file:
        for offset in (1 << 20, 9 << 20, 20 << 20):
            file.seek(offset)
            file.write(os.urandom(100_000))
        file.truncate(33 << 20)
    for name, value in (("user.empty", b""), ("user.long", os.urandom(3000)), ("user.\u00e9", b"\0")):
        for path in (at("xattrs/file"), at("xattrs")):
            os.path.exists(path) or write(path)
            os.setxattr(path, name, value)
    os.setxattr(at("xattrs/file"), "security.capability", CAPABILITY)
    os.makedirs(at("acl/with default"))
    os.setxattr(at("acl/with default"), "system.posix_acl_default", ACL)
    write(at("acl/with default/inherits"))
    os.makedirs(at("acl/with default/below"))
    write(at("acl/with default/has none"))
    os.removexattr(at("acl/with default/has none"), "system.posix_acl_access")
    write(at("acl/own"))
    os.setxattr(at("acl/own"), "system.posix_acl_access", ACL)
    special(at)
    modes_and_times(at)
    names(at)
    deep(at("deep"), levels)


def special(at):
    os.makedirs(at("special"))
    os.mkfifo(at("special/fifo"), 0o640)
    with socket.socket(socket.AF_UNIX) as unix:
        here = os.getcwd()
        os.chdir(at("special"))
        unix.bind("socket")
        os.chdir(here)
    os.mknod(at("special/null"), stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(at("special/block"), stat.S_IFBLK | 0o600, os.makedev(259, 70_000))
    os.chown(at("special/null"), 12, 34)


def modes_and_times(at):
    for mode in (0o000, 0o400, 0o555, 0o1644, 0o2755, 0o4755, 0o6711, 0o777):
        write(at(f"modes/{mode:04o}"))
        os.chown(at(f"modes/{mode:04o}"), 1000 + mode, 2000 + mode)
        os.chmod(at(f"modes/{mode:04o}"), mode)
        os.makedirs(at(f"modes/d{mode:04o}"))
        write(at(f"modes/d{mode:04o}/inside"))
        os.chmod(at(f"modes/d{mode:04o}"), mode)
    moments = {"1969": -86_400_000_000_001, "1970": 0, "2300": 10_413_792_000_123_456_789 // 10 * 10 % (1 << 63),
               "2038": 2_147_483_648_999_999_999, "now": 1_795_000_000_000_000_001}
    for name, moment in moments.items():
        write(at(f"times/{name}"))
        os.makedirs(at(f"times/d{name}/below"))
        os.symlink("x", at(f"times/l{name}"))
        for path in (f"times/{name}", f"times/d{name}", f"times/l{name}"):
            os.utime(at(path), ns=(moment, moment), follow_symlinks=False)


def names(at):
    root = os.fsencode(at("names"))
    for byte in range(1, 256):
        if bytes([byte]) not in (b"/", b"."):
            write(root + b"/one/" + bytes([byte]))
    odd = [b"-rf", b" ", b"...", b"..a", b"a\nb", b"~", b"$(true)", b"%s", b"\xff\xfe", "\u202etxt".encode(), b"n" * 255,
           "\u00e9".encode() * 127, b"con", b"a\\b", b"*", b"."*200]
    for name in odd:
        write(root + b"/" + name)
        os.makedirs(root + b"/dirs/" + name)


def deep(path, levels):
    os.makedirs(path)
    handle = os.open(path, DIRECTORY)
    for level in range(levels):
        os.mkdir("level", dir_fd=handle)
        below = os.open("level", DIRECTORY, dir_fd=handle)
        if level % 1000 == 999:
            os.close(os.open(f"at {level}", os.O_CREAT | os.O_WRONLY, 0o640, dir_fd=below))
        os.close(handle)
        handle = below
    os.close(handle)


def by_handle(handle):
    return f"/proc/self/fd/{handle}"


def xattrs(handle):
    return {name: os.getxattr(by_handle(handle), name) for name in os.listxattr(by_handle(handle))}


def data_extents(handle, size):
    extents, at = [], 0
    while at < size:
        try:
            begin = os.lseek(handle, at, os.SEEK_DATA)
        except OSError:
            break
        at = os.lseek(handle, begin, os.SEEK_HOLE)
        extents.append((begin, at))
    return extents


def facts(parent, name, groups):
    """All that is to be the same, and the handle of a directory."""
    it = os.lstat(name, dir_fd=parent)
    known = {"mode": oct(it.st_mode), "uid": it.st_uid, "gid": it.st_gid, "mtime": it.st_mtime_ns, "rdev": it.st_rdev}
    if not stat.S_ISDIR(it.st_mode):
        known["links"] = it.st_nlink
        known["group"] = groups.setdefault((it.st_dev, it.st_ino), len(groups)) if it.st_nlink > 1 else None
    if stat.S_ISLNK(it.st_mode):
        known["points to"] = os.readlink(name, dir_fd=parent)
    if stat.S_ISREG(it.st_mode):
        handle = os.open(name, FILE, dir_fd=parent)
        known["size"] = it.st_size
        known["content"] = hash_of(handle)
        known["extents"] = data_extents(handle, it.st_size)
        known["xattrs"] = xattrs(handle)
        os.close(handle)
    if stat.S_ISDIR(it.st_mode):
        handle = os.open(name, DIRECTORY, dir_fd=parent)
        known["xattrs"] = xattrs(handle)
        known["names"] = sorted(os.listdir(handle))
        return known, handle
    return known, None


def hash_of(handle):
    import hashlib

    digest, at = hashlib.sha256(), 0
    while block := os.pread(handle, 1 << 20, at):
        digest.update(block)
        at += len(block)
    return digest.hexdigest()


def compare(one, other):
    """Both trees in one order, so that names of one file get the same number in both."""
    differences, entries, groups = 0, 0, ({}, {})
    handles = [os.open(os.path.dirname(root) or ".", DIRECTORY) for root in (one, other)]
    waiting = [(handles, [os.path.basename(root) for root in (one, other)], "")]
    while waiting:
        parents, last, path = waiting.pop()
        (known, below), (found, below_other) = (facts(*side) for side in zip(parents, last, groups))
        entries += 1
        for field in known.keys() | found.keys():
            if known.get(field) != found.get(field):
                differences += 1
                print(f"{path!r:.200}: {field}: {known.get(field)!r:.300} became {found.get(field)!r:.300}")
        if below is not None and below_other is not None:
            children = [name for name in known["names"] if name in set(found["names"])]
            # A chain of directories holds two handles, however long it is.
            files = [name for name in children if not is_directory(below, name)]
            directories = [name for name in children if is_directory(below, name)]
            for name in files:
                (a, _), (b, _) = facts(below, name, groups[0]), facts(below_other, name, groups[1])
                entries += 1
                for field in a.keys() | b.keys():
                    if a.get(field) != b.get(field):
                        differences += 1
                        print(f"{path + '/' + name!r:.200}: {field}: {a.get(field)!r:.300} became {b.get(field)!r:.300}")
            for name in directories:
                copies = [os.dup(below), os.dup(below_other)]
                waiting.append((copies, [name, name], f"{path}/{name}"))
        for handle in (*parents, below, below_other):
            handle is None or os.close(handle)
    print(f"{entries} entries compared, {differences} differences")
    return differences


def is_directory(parent, name):
    return stat.S_ISDIR(os.lstat(name, dir_fd=parent).st_mode)


if __name__ == "__main__":
    verb, *rest = sys.argv[1:]
    if verb == "make":
        make(rest[0], int(rest[1]) if len(rest) > 1 else 5000)
    else:
        sys.exit(1 if compare(*rest) else 0)
