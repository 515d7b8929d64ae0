//! The archive format of initramfs images ("newc": `Documentation/driver-api/early-userspace/buffer-format.rst`), written.

/// An archive under construction.
#[derive(Debug, Default)]
pub struct Archive {
    bytes: Vec<u8>,
    items: u32,
}

const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const LINK: u32 = 0o120_777;
const CHARACTER_DEVICE: u32 = 0o020_600;

impl Archive {
    /// A folder; parents come first.
    pub fn folder(&mut self, name: &str) {
        self.item(name, FOLDER, &[], (0, 0));
    }

    /// A file that may be run.
    pub fn file(&mut self, name: &str, content: &[u8]) {
        self.item(name, PROGRAM, content, (0, 0));
    }

    /// A symbolic link.
    pub fn link(&mut self, name: &str, target: &str) {
        self.item(name, LINK, target.as_bytes(), (0, 0));
    }

    /// A character device node.
    pub fn device(&mut self, name: &str, major: u32, minor: u32) {
        self.item(name, CHARACTER_DEVICE, &[], (major, minor));
    }

    /// The finished archive.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.item("TRAILER!!!", 0, &[], (0, 0));
        self.bytes
    }

    fn item(&mut self, name: &str, mode: u32, content: &[u8], device: (u32, u32)) {
        self.items += 1;
        let links = if mode == FOLDER { 2 } else { 1 };
        let size = u32::try_from(content.len()).expect("an initramfs is smaller than 4 GiB");
        let name_size = u32::try_from(name.len() + 1).expect("a name is short");
        let inode = if mode == 0 { 0 } else { self.items };
        self.bytes.extend_from_slice(b"070701");
        // inode, mode, uid, gid, links, mtime, size, device of the file, device of the node, name, checksum
        for field in [inode, mode, 0, 0, links, 0, size, 0, 0, device.0, device.1, name_size, 0] {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_contents_are_padded_to_four_bytes() {
        let mut archive = Archive::default();
        archive.file("init", b"hello");
        let bytes = archive.finish();
        let header = 110;
        assert_eq!(&bytes[..6], b"070701");
        assert_eq!(&bytes[14..22], b"000081ed", "mode of a file that may be run");
        assert_eq!(&bytes[54..62], b"00000005", "size");
        assert_eq!(&bytes[header..header + 5], b"init\0");
        assert_eq!(&bytes[116..124], b"hello\0\0\0");
        assert_eq!(&bytes[124..130], b"070701");
        assert_eq!(bytes.len() % 4, 0);
    }
}
