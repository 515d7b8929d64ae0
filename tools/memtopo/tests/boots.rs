//! The captured boots of `corpus/boots`, replayed: `memtopo plan` has to say what the kernel did.

use memtopo_lab::check::{self, Verdict};
use memtopo_lab::planner::Planner;
use memtopo_lab::workshop::Kernel;
use std::path::{Path, PathBuf};

/// The captured boots, by name.
fn boots() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../corpus/boots");
    let list = std::fs::read_dir(folder).expect("the captured boots are part of the repository");
    let mut folders: Vec<_> = list.map(|item| item.expect("an entry").path()).collect();
    folders.sort();
    folders
}

#[test]
fn plans_agree_with_captured_boots() {
    let planner = Planner::find(Some(env!("CARGO_BIN_EXE_memtopo").into())).expect("the program");
    let boots = boots();
    assert!(boots.len() >= 12, "{} captured boots", boots.len());
    let mut failures = Vec::new();
    for folder in boots {
        let name = folder.file_name().expect("a name").to_string_lossy().into_owned();
        let Verdict::Compared(report) =
            check::stored(&folder, &planner, Kernel::V7_2).expect("a capture and a plan")
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
