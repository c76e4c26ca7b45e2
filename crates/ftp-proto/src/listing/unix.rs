//! The lines of `ls -l`, which is what LIST means to every client.

use std::time::SystemTime;

use super::{Item, ItemKind};
use crate::time::list_date;

/// Appends one line with its end.
pub fn push_line(out: &mut Vec<u8>, item: &Item<'_>, now: SystemTime) {
    out.push(match item.kind {
        ItemKind::File => b'-',
        ItemKind::Directory => b'd',
        ItemKind::Link(_) => b'l',
        ItemKind::Other => b's',
    });
    for shift in [6, 3, 0] {
        let bits = item.mode >> shift;
        out.push(if bits & 4 != 0 { b'r' } else { b'-' });
        out.push(if bits & 2 != 0 { b'w' } else { b'-' });
        out.push(if bits & 1 != 0 { b'x' } else { b'-' });
    }
    let date = list_date(item.modified, now);
    let columns = format!(
        " {:>3} {:<8} {:<8} {:>12} {date} ",
        item.links, item.uid, item.gid, item.size
    );
    out.extend_from_slice(columns.as_bytes());
    out.extend_from_slice(item.name);
    if let ItemKind::Link(target) = item.kind {
        out.extend_from_slice(b" -> ");
        out.extend(
            target
                .iter()
                .map(|b| if *b < 0x20 || *b == 0x7f { b'?' } else { *b }),
        );
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::parse_time_val;

    #[test]
    fn a_line_reads_like_ls() {
        let item = Item {
            name: b"a file",
            kind: ItemKind::File,
            size: 5,
            modified: parse_time_val(b"20261101091500").unwrap(),
            mode: 0o640,
            uid: 1000,
            gid: 100,
            links: 1,
            unique: (1, 2),
            rights: super::super::Rights::default(),
        };
        let mut out = Vec::new();
        push_line(&mut out, &item, parse_time_val(b"20261122000000").unwrap());
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "-rw-r-----   1 1000     100                 5 Nov  1 09:15 a file\r\n"
        );
    }
}
