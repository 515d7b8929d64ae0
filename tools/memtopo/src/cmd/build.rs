//! `memtopo build`: binaries from a dump or a machine description.

use crate::args::Build;
use crate::input::{self, Named};
use crate::spec::{self, Built};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};

/// Runs the command.
pub(crate) fn run(args: &Build) -> Result<()> {
    let Named { name, bytes } = input::read_file(&args.spec)?;
    let text = String::from_utf8(bytes).with_context(|| format!("{name}: expected text"))?;
    let built = spec::build(&text, args.reseal).with_context(|| name)?;
    let Some(folder) = &args.output else {
        let [only] = built.as_slice() else {
            ensure!(!built.is_empty(), "nothing to build");
            anyhow::bail!("{} tables: name a folder with -o", built.len());
        };
        io::stdout().write_all(&only.bytes)?;
        return Ok(());
    };
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    for (file, bytes) in file_names(&built) {
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
    let name = |table: &Built| {
        let stem =
            table.name.replace(|character: char| !character.is_ascii_alphanumeric() && character != '_', "_");
        stem
    };
    built
        .iter()
        .map(|table| {
            let index = seen.entry(&table.name).or_default();
            *index += 1;
            let file = match count.get(table.name.as_str()) {
                Some(1) => format!("{}.bin", name(table)),
                _ => format!("{}{index}.bin", name(table)),
            };
            (file, table.bytes.as_slice())
        })
        .collect()
}
