//! The archive format of tape archives (POSIX ustar), read as busybox writes it: files only, names below 100 bytes.

/// The files of an archive.
#[must_use]
pub fn files(archive: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(header) = archive.get(at..at + 512) {
        let name = header[..100].split(|byte| *byte == 0).next().unwrap_or_default();
        if name.is_empty() {
            break;
        }
        let size = octal(&header[124..136]);
        let start = at + 512;
        let Some(content) = archive.get(start..start + size) else { break };
        if matches!(header[156], 0 | b'0') {
            let name = String::from_utf8_lossy(name);
            found.push((name.trim_start_matches("./").to_owned(), content.to_vec()));
        }
        at = start + size.next_multiple_of(512);
    }
    found
}

fn octal(field: &[u8]) -> usize {
    let digits =
        field.iter().skip_while(|byte| **byte == b' ').take_while(|byte| matches!(byte, b'0'..=b'7'));
    digits.fold(0, |number: usize, digit| number.saturating_mul(8).saturating_add(usize::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_found_behind_a_folder() {
        let mut archive = vec![0; 512 * 5];
        archive[..2].copy_from_slice(b"./");
        archive[156] = b'5';
        archive[512..517].copy_from_slice(b"./a.t");
        archive[512 + 124..512 + 136].copy_from_slice(b"00000000003\0");
        archive[512 + 156] = b'0';
        archive[1024..1027].copy_from_slice(b"xyz");
        assert_eq!(files(&archive), [("a.t".to_owned(), b"xyz".to_vec())]);
        assert!(files(&archive[..1025]).is_empty(), "a cut file is left out");
    }
}
