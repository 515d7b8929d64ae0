//! Writes the seeds of every fuzz target: `cargo xtask corpus`.

use std::fs;
use std::path::Path;

fn main() -> std::io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../corpus/fuzz");
    if corpus.exists() {
        fs::remove_dir_all(&corpus)?;
    }
    let mut count = 0;
    for target in memtopo_properties::TARGETS {
        let folder = corpus.join(target.name);
        fs::create_dir_all(&folder)?;
        for (name, bytes) in (target.seeds)() {
            fs::write(folder.join(format!("{name}.bin")), bytes)?;
            count += 1;
        }
    }
    println!("{count} seeds for {} fuzz targets in corpus/fuzz", memtopo_properties::TARGETS.len());
    Ok(())
}
