//! The captured boots of `corpus/boots`, and those of older kernels in `corpus/older-boots`, replayed: `memtopo plan`
//! has to say what the kernel did.

use memtopo_lab::check::{self, Verdict};
use memtopo_lab::planner::Planner;
use memtopo_lab::workshop::Kernel;
use std::path::{Path, PathBuf};

/// The captured boots of a folder, by name.
fn boots(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../corpus").join(folder);
    let list = std::fs::read_dir(folder).expect("the captured boots are part of the repository");
    let mut folders: Vec<_> = list.map(|item| item.expect("an entry").path()).collect();
    folders.sort();
    folders
}

#[test]
fn plans_agree_with_captured_boots() {
    let boots = boots("boots");
    assert!(boots.len() >= 12, "{} captured boots", boots.len());
    replay(boots.into_iter().map(|folder| (folder, Kernel::V7_2)));
}

#[test]
fn plans_agree_with_captured_boots_of_older_kernels() {
    let kernel_of = |folder: &PathBuf| {
        Kernel::ALL
            .into_iter()
            .find(|kernel| folder.join(kernel.observed_file()).exists())
            .expect("a capture")
    };
    let boots = boots("older-boots").into_iter().map(|folder| (folder.clone(), kernel_of(&folder)));
    assert!(boots.len() >= 2, "{} captured boots", boots.len());
    replay(boots);
}

fn replay(boots: impl Iterator<Item = (PathBuf, Kernel)>) {
    let planner = Planner::find(Some(env!("CARGO_BIN_EXE_memtopo").into())).expect("the program");
    let mut failures = Vec::new();
    for (folder, kernel) in boots {
        let name = folder.file_name().expect("a name").to_string_lossy().into_owned();
        let Verdict::Compared(report) =
            check::stored(&folder, &planner, kernel).expect("a capture and a plan")
        else {
            panic!("{name}: the capture says nothing");
        };
        assert!(report.total() > 70, "{name}: only {} values were compared", report.total());
        assert!(report.lacking.is_empty(), "{name}: the plan lacks {:?}", report.lacking);
        assert!(report.unknown.is_empty(), "{name}: unknown to the plan: {:?}", report.unknown);
        failures.extend(report.differences.iter().map(|difference| format!("{name}: {difference}")));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
