//! What a careful programmer writes without a library: offsets, lengths checked before every access, no types.
//!
//! Each function looks at exactly what its twin in the bench looks at, and refuses exactly what the library refuses.

/// The numbers in `bytes` at `at`; the caller has checked that they are there.
fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().expect("two bytes"))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// The bytes of a table that begins with `signature` and has at least `fixed` of them.
fn table<'a>(bytes: &'a [u8], signature: &[u8; 4], fixed: usize) -> Option<&'a [u8]> {
    if bytes.len() < fixed || bytes[..4] != *signature {
        return None;
    }
    let length = u32_at(bytes, 4) as usize;
    if length < fixed { None } else { Some(&bytes[..length.min(bytes.len())]) }
}

/// Sum of bases and sizes of the enabled memory, and of all domains.
#[inline(never)]
pub fn read_srat(bytes: &[u8]) -> Option<(u64, u64)> {
    let bytes = table(bytes, b"SRAT", 48)?;
    let (mut memory, mut domains) = (0_u64, 0_u64);
    let mut at = 48;
    while at < bytes.len() {
        if bytes.len() - at < 2 {
            return None;
        }
        let (kind, length) = (bytes[at], usize::from(bytes[at + 1]));
        if length < 2 || length > bytes.len() - at {
            return None;
        }
        let entry = &bytes[at..at + length];
        match kind {
            1 => {
                if length < 40 {
                    return None;
                }
                domains = domains.wrapping_add(u64::from(u32_at(entry, 2)));
                if u32_at(entry, 28) & 1 != 0 {
                    memory = memory.wrapping_add(u64_at(entry, 8)).wrapping_add(u64_at(entry, 16));
                }
            }
            2 => {
                if length < 24 {
                    return None;
                }
                domains = domains.wrapping_add(u64::from(u32_at(entry, 4)));
            }
            _ => {}
        }
        at += length;
    }
    Some((memory, domains))
}

/// Sum of the cells that are neither 0 nor unreachable, of the first matrix.
#[inline(never)]
pub fn read_hmat(bytes: &[u8]) -> Option<u64> {
    let bytes = table(bytes, b"HMAT", 40)?;
    let mut at = 40;
    while at < bytes.len() {
        if bytes.len() - at < 8 {
            return None;
        }
        let length = u32_at(bytes, at + 4) as usize;
        if length < 8 || length > bytes.len() - at {
            return None;
        }
        if u16_at(bytes, at) == 1 {
            if length < 32 {
                return None;
            }
            let (rows, columns) = (u32_at(bytes, at + 12) as usize, u32_at(bytes, at + 16) as usize);
            let lists = rows.checked_add(columns)?.checked_mul(4)?.checked_add(32)?;
            let cells = rows.checked_mul(columns)?.checked_mul(2)?;
            if lists.checked_add(cells)? > length {
                return None;
            }
            let mut sum = 0_u64;
            for cell in bytes[at + lists..at + lists + cells].chunks_exact(2) {
                let cell = u16_at(cell, 0);
                if cell != 0 && cell != 0xffff {
                    sum += u64::from(cell);
                }
            }
            return Some(sum);
        }
        at += length;
    }
    None
}

/// Sum of all distances.
#[inline(never)]
pub fn read_slit(bytes: &[u8]) -> Option<u64> {
    let bytes = table(bytes, b"SLIT", 44)?;
    let n = usize::try_from(u64_at(bytes, 36)).ok()?;
    let end = n.checked_mul(n)?.checked_add(44)?;
    if end > bytes.len() {
        return None;
    }
    let mut sum = 0_u64;
    for distance in &bytes[44..end] {
        sum += u64::from(*distance);
    }
    Some(sum)
}

/// Sum of the bases of all bridges and windows, and of the targets of all windows.
#[inline(never)]
pub fn read_cedt(bytes: &[u8]) -> Option<(u64, u64)> {
    let bytes = table(bytes, b"CEDT", 36)?;
    let (mut bases, mut targets) = (0_u64, 0_u64);
    let mut at = 36;
    while at < bytes.len() {
        if bytes.len() - at < 4 {
            return None;
        }
        let length = usize::from(u16_at(bytes, at + 2));
        if length < 4 || length > bytes.len() - at {
            return None;
        }
        let entry = &bytes[at..at + length];
        match entry[0] {
            0 => {
                if length < 32 {
                    return None;
                }
                bases = bases.wrapping_add(u64_at(entry, 16));
            }
            1 => {
                if length < 36 {
                    return None;
                }
                let ways = match entry[24] {
                    code @ 0..=4 => 1 << code,
                    code @ 8..=10 => 3 << (code - 8),
                    _ => 0,
                };
                if 36 + ways * 4 > length {
                    return None;
                }
                bases = bases.wrapping_add(u64_at(entry, 8));
                for target in entry[36..36 + ways * 4].chunks_exact(4) {
                    targets = targets.wrapping_add(u64::from(u32_at(target, 0)));
                }
            }
            _ => {}
        }
        at += length;
    }
    Some((bases, targets))
}

/// Sum of the sizes of all ranges, and of the first number of each latency or bandwidth in its unit.
#[inline(never)]
pub fn read_cdat(bytes: &[u8]) -> Option<(u64, u64)> {
    if bytes.len() < 16 {
        return None;
    }
    let length = u32_at(bytes, 0) as usize;
    let bytes = &bytes[..length.max(16).min(bytes.len())];
    let (mut sizes, mut numbers) = (0_u64, 0_u64);
    let mut at = 16;
    while at < bytes.len() {
        if bytes.len() - at < 4 {
            return None;
        }
        let length = usize::from(u16_at(bytes, at + 2));
        if length < 4 || length > bytes.len() - at {
            return None;
        }
        let entry = &bytes[at..at + length];
        match entry[0] {
            0 => {
                if length < 24 {
                    return None;
                }
                sizes = sizes.wrapping_add(u64_at(entry, 16));
            }
            1 => {
                if length < 24 {
                    return None;
                }
                let unit = u64_at(entry, 8);
                numbers = numbers.wrapping_add(unit.wrapping_mul(u64::from(u16_at(entry, 16))));
            }
            _ => {}
        }
        at += length;
    }
    Some((sizes, numbers))
}

/// Number of pages of conventional memory: general-purpose, specific-purpose.
#[inline(never)]
pub fn read_efi_map(bytes: &[u8], stride: usize) -> Option<(u64, u64)> {
    if stride < 40 {
        return None;
    }
    let (mut general, mut specific) = (0_u64, 0_u64);
    for descriptor in bytes.chunks_exact(stride) {
        if u32_at(descriptor, 0) == 7 {
            let pages = u64_at(descriptor, 24);
            if u64_at(descriptor, 32) & 0x4_0000 != 0 {
                specific = specific.wrapping_add(pages);
            } else {
                general = general.wrapping_add(pages);
            }
        }
    }
    Some((general, specific))
}

/// Fills in the checksum of a table.
fn seal(bytes: &mut [u8]) {
    bytes[9] = 0;
    let sum = bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    bytes[9] = 0_u8.wrapping_sub(sum);
}

/// The common header.
fn header(bytes: &mut [u8], signature: &[u8; 4], length: usize, revision: u8) -> Option<()> {
    bytes[..4].copy_from_slice(signature);
    bytes[4..8].copy_from_slice(&u32::try_from(length).ok()?.to_le_bytes());
    bytes[8] = revision;
    bytes[10..16].copy_from_slice(b"MTOPO ");
    bytes[16..24].copy_from_slice(b"MEMTOPO ");
    bytes[24..28].copy_from_slice(&1_u32.to_le_bytes());
    bytes[28..32].copy_from_slice(b"MTPO");
    bytes[32..36].copy_from_slice(&1_u32.to_le_bytes());
    Some(())
}

/// Writes an SRAT of `entries` memory structures of 1 GiB, each in a domain of its own, and returns its length.
#[inline(never)]
pub fn write_srat(buffer: &mut [u8], entries: usize) -> Option<usize> {
    let length = entries.checked_mul(40)?.checked_add(48)?;
    if length > buffer.len() {
        return None;
    }
    let bytes = &mut buffer[..length];
    header(bytes, b"SRAT", length, 3)?;
    bytes[36..40].copy_from_slice(&1_u32.to_le_bytes());
    bytes[40..48].fill(0);
    for (index, entry) in bytes[48..].chunks_exact_mut(40).enumerate() {
        entry[0] = 1;
        entry[1] = 40;
        entry[2..6].copy_from_slice(&u32::try_from(index).unwrap_or(u32::MAX).to_le_bytes());
        entry[6..8].fill(0);
        entry[8..16].copy_from_slice(&(index as u64 * crate::inputs::GIB).to_le_bytes());
        entry[16..24].copy_from_slice(&crate::inputs::GIB.to_le_bytes());
        entry[24..28].fill(0);
        entry[28..32].copy_from_slice(&1_u32.to_le_bytes());
        entry[32..40].fill(0);
    }
    seal(bytes);
    Some(length)
}

/// Writes an HMAT with one matrix of `side` initiators and targets, and returns its length.
#[inline(never)]
pub fn write_hmat(buffer: &mut [u8], side: usize, cell: impl Fn(usize, usize) -> u16) -> Option<usize> {
    let lists = side.checked_mul(8)?.checked_add(32)?;
    let structure = side.checked_mul(side)?.checked_mul(2)?.checked_add(lists)?;
    let length = structure.checked_add(40)?;
    if length > buffer.len() {
        return None;
    }
    let bytes = &mut buffer[..length];
    header(bytes, b"HMAT", length, 2)?;
    bytes[36..72].fill(0);
    bytes[40] = 1;
    bytes[44..48].copy_from_slice(&u32::try_from(structure).ok()?.to_le_bytes());
    bytes[52..56].copy_from_slice(&u32::try_from(side).ok()?.to_le_bytes());
    bytes[56..60].copy_from_slice(&u32::try_from(side).ok()?.to_le_bytes());
    bytes[64..72].copy_from_slice(&1000_u64.to_le_bytes());
    for index in 0..side {
        let number = u32::try_from(index).ok()?.to_le_bytes();
        bytes[72 + index * 4..76 + index * 4].copy_from_slice(&number);
        let at = 72 + (side + index) * 4;
        bytes[at..at + 4].copy_from_slice(&number);
    }
    for (row, cells) in bytes[40 + lists..].chunks_exact_mut(side.max(1) * 2).enumerate() {
        for (column, place) in cells.chunks_exact_mut(2).enumerate() {
            place.copy_from_slice(&cell(row, column).to_le_bytes());
        }
    }
    seal(bytes);
    Some(length)
}
