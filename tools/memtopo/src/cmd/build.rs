//! `memtopo build`: binaries from a dump or a machine description.

use crate::args::Build;
use crate::input::{self, Named};
use crate::spec::{self, Built, Output};
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};

/// Runs the command.
pub(crate) fn run(args: &Build) -> Result<()> {
    let Named { name, bytes } = input::read_file(&args.spec)?;
    let text = String::from_utf8(bytes).with_context(|| format!("{name}: expected text"))?;
    let Output { tables, images } = spec::build(&text, args.reseal).with_context(|| name)?;
    let Some(folder) = &args.output else {
        // One image holds all its tables.
        let only = match (images.as_slice(), tables.as_slice()) {
            ([image], _) => image,
            ([], [table]) => table,
            _ => bail!("{} tables: name a folder with -o", tables.len()),
        };
        io::stdout().write_all(&only.bytes)?;
        return Ok(());
    };
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    for (file, bytes) in file_names(&tables).into_iter().chain(file_names(&images)) {
        let path = folder.join(file);
        fs::write(&path, bytes).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// `SRAT.bin`; where a name occurs more than once, `SRAT1.bin`, `SRAT2.bin` and so on, as Linux names them.
fn file_names(built: &[Built]) -> Vec<(String, &[u8])> {
    let mut count: BTreeMap<&str, usize> = BTreeMap::new();
    for table in built {
        *count.entry(&table.name).or_default() += 1;
    }
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let plain = |character: char| character.is_ascii_alphanumeric() || "_.-".contains(character);
    built
        .iter()
        .map(|table| {
            let index = seen.entry(&table.name).or_default();
            *index += 1;
            let stem = table.name.replace(|character| !plain(character), "_");
            let file = match count.get(table.name.as_str()) {
                Some(1) => format!("{stem}.bin"),
                _ => format!("{stem}{index}.bin"),
            };
            (file, table.bytes.as_slice())
        })
        .collect()
}
