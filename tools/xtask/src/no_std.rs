//! Proofs on a plain stable toolchain that the library needs no standard library and no allocator, and that its
//! tables cannot panic; each with controls: copies of the library with the very fault that must be found.
//!
//! * *Filtered sysroot.* The library is compiled against a sysroot in which only `core` exists (and `alloc`, for
//!   that feature). Whatever names another crate, in it or below it, is an error.
//! * *Probe.* `tools/nostd-probe`, a static library with its own panic handler and no allocator, uses every room.
//!   A second panic handler (that of `std`) or a missing allocator is an error.
//! * *Linker.* The same probe, optimised as a whole, with a panic handler that calls a function that does not
//!   exist. As long as one panic can be reached from a view, an accessor or a writer, it does not link.

use crate::process::{Failure, Printed, cargo, compiler, root, section, target_dir, while_doing};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The function that the panic handler of the linker proof calls.
const PANIC_SYMBOL: &str = "memtopo_panic_is_reachable";

/// An index that may be out of range, for all the compiler can know.
const UNCHECKED_INDEX: &str = "let _ = [0_u8; 4][core::hint::black_box(7_usize)];";

/// One way to prove something about a copy of the project.
#[derive(Clone, Copy)]
enum Proof {
    /// Compile against a sysroot with these crates only, with these features.
    Sysroot(&'static [&'static str], &'static str),
    /// Build the probe as a static library.
    Probe,
    /// Link the probe with a panic handler that cannot link, with the rooms of these features.
    Linker(&'static str),
}

/// What is to be proven, and what that shows.
const PROOFS: &[(Proof, &str)] = &[
    (
        Proof::Sysroot(&["core"], ""),
        "no std, no alloc: without features the library compiles where only core exists",
    ),
    (
        Proof::Sysroot(&["core", "alloc"], "alloc"),
        "no std: with `alloc` it compiles where only core and alloc exist",
    ),
    (Proof::Sysroot(&["core", "alloc"], "alloc,serde"), "no std: with `alloc` and `serde` as well"),
    (Proof::Probe, "no std, no allocator: every room works in a program that has neither"),
    (
        Proof::Linker("tables"),
        "no panic: no view, accessor or writer of any room can reach the panic handler",
    ),
    (Proof::Linker("region"), "no panic: neither can the interleave mathematics"),
];

/// The rooms of `src/tables` whose panics the linker looks for, each a feature of the probe, with the start of the
/// functions, in the file of the room, into which the controls put an unchecked index: for reading, for writing.
const ROOMS: &[(&str, &[(&str, &str)])] = &[
    ("anatomy", &[("describing a table", "fn sdt("), ("its iterator", "fn next(")]),
    ("cdat", READ_AND_WRITE),
    ("cedt", READ_AND_WRITE),
    ("e820", READ_AND_WRITE),
    ("efi", READ_AND_WRITE),
    ("hdm", READ_AND_WRITE),
    ("hmat", READ_AND_WRITE),
    ("madt", READ_AND_WRITE),
    ("msct", READ_AND_WRITE),
    ("root", READ_AND_WRITE),
    ("slit", READ_AND_WRITE),
    ("srat", READ_AND_WRITE),
];

/// Functions of the room `region` into which the controls put the same: file, what it does, start.
const REGION: &[(&str, &str, &str)] = &[
    ("levels", "counting the levels", "pub fn of_linux("),
    ("xor", "choosing XOR maps", "pub fn of_window<"),
    ("translate", "preparing", "pub fn with_bases("),
    ("translate", "one address", "pub fn to_device("),
    ("translate", "one place", "pub fn to_host("),
    ("translate", "many addresses", "pub fn to_devices("),
    ("translate", "many places", "pub fn to_hosts("),
    ("reported", "what Linux finds", "pub fn offset_to_dpa("),
    ("reported", "what Linux answers", "pub fn dpa_to_spa("),
];

/// Where most rooms begin to read and end to write.
const READ_AND_WRITE: &[(&str, &str)] = &[("reading", "pub fn parse("), ("writing", "pub fn finish(")];

/// A fault and its place.
struct Fault {
    file: String,
    /// The start of the function at whose beginning it goes; `None` for the end of the file.
    function: Option<&'static str>,
    text: &'static str,
}

impl Fault {
    /// The source with the fault in it; `None` when the place is not there.
    fn plant(&self, source: &str) -> Option<String> {
        let at = match self.function {
            Some(start) => {
                let function = source.find(start)?;
                function + source.get(function..)?.find("{\n")? + 2
            }
            None => source.len(),
        };
        let (before, after) = source.split_at_checked(at)?;
        Some(format!("{before}{}\n{after}", self.text))
    }
}

/// A copy of the project that must not pass.
struct Control {
    what: String,
    fault: Fault,
    proof: Proof,
    /// What the refusal has to say; another error proves nothing.
    because: &'static str,
}

/// Runs all proofs and all controls.
pub fn run(_: &[String]) -> Result<(), Failure> {
    let laboratory = Laboratory::new()?;
    let mut proven = Vec::new();
    for (proof, meaning) in PROOFS {
        let printed = laboratory.attempt(*proof, &root())?;
        if !printed.success {
            eprintln!("{}", printed.text);
            if let Proof::Linker(_) = proof {
                laboratory.narrow_down()?;
            }
            return Err(format!("not proven: {meaning}").into());
        }
        proven.push(*meaning);
        println!("proven: {meaning}");
    }
    section("controls");
    let controls = controls();
    for control in &controls {
        let copy = laboratory.copy(&control.fault)?;
        let printed = laboratory.attempt(control.proof, &copy)?;
        if printed.success {
            return Err(format!("{} was not found: the proof is worth nothing", control.what).into());
        }
        if !printed.text.contains(control.because) {
            eprintln!("{}", printed.text);
            return Err(format!("{}: refused, but not because of `{}`", control.what, control.because).into());
        }
        println!("refused, as it must be: {} ({})", control.what, control.because);
    }
    section("proven");
    proven.iter().for_each(|meaning| println!("{meaning}"));
    println!("{} controls, each with a fault, were all refused", controls.len());
    Ok(())
}

fn controls() -> Vec<Control> {
    const STD: &str =
        "extern crate std;\n/// A control.\npub fn control() -> std::vec::Vec<u8> { std::vec::Vec::new() }";
    const ALLOC: &str = "/// A control.\npub mod control {\n extern crate alloc;\n /// A control.\n pub fn control() -> alloc::vec::Vec<u8> { alloc::vec::Vec::new() }\n}";
    let lib = |text| Fault { file: "src/lib.rs".into(), function: None, text };
    let mut controls = vec![
        Control {
            what: "std where only core exists".into(),
            fault: lib(STD),
            proof: Proof::Sysroot(&["core"], ""),
            because: "can't find crate for `std`",
        },
        Control {
            what: "alloc where only core exists".into(),
            fault: lib(ALLOC),
            proof: Proof::Sysroot(&["core"], ""),
            because: "can't find crate for `alloc`",
        },
        Control {
            what: "std where only core and alloc exist".into(),
            fault: lib(STD),
            proof: Proof::Sysroot(&["core", "alloc"], "alloc"),
            because: "can't find crate for `std`",
        },
        Control {
            what: "std under the probe".into(),
            fault: lib(STD),
            proof: Proof::Probe,
            because: "found duplicate lang item `panic_impl`",
        },
        Control {
            what: "alloc under the probe".into(),
            fault: lib(ALLOC),
            proof: Proof::Probe,
            because: "no global memory allocator found",
        },
    ];
    for (room, functions) in ROOMS {
        controls.extend(functions.iter().map(|(activity, start)| Control {
            what: format!("an unchecked index in {room}, {activity}"),
            fault: Fault {
                file: format!("src/tables/{room}.rs"),
                function: Some(start),
                text: UNCHECKED_INDEX,
            },
            proof: Proof::Linker(room),
            because: PANIC_SYMBOL,
        }));
    }
    controls.extend(REGION.iter().map(|(file, activity, start)| Control {
        what: format!("an unchecked index in region, {activity}"),
        fault: Fault { file: format!("src/region/{file}.rs"), function: Some(start), text: UNCHECKED_INDEX },
        proof: Proof::Linker("region"),
        because: PANIC_SYMBOL,
    }));
    controls
}

/// Folders and facts that all proofs need.
struct Laboratory {
    folder: PathBuf,
    libraries: PathBuf,
    host: String,
}

impl Laboratory {
    fn new() -> Result<Self, Failure> {
        let (sysroot, host) = compiler()?;
        let libraries = sysroot.join("lib/rustlib").join(&host).join("lib");
        Ok(Self { folder: target_dir().join("no-std"), libraries, host })
    }

    /// Tries the proof on the project in `project`.
    fn attempt(&self, proof: Proof, project: &Path) -> Result<Printed, Failure> {
        let probe = project.join("tools/nostd-probe");
        // An explicit target keeps procedural macros and build scripts on the flags of the host.
        let build = |folder: &Path| cargo().dir(folder).env("CARGO_TARGET_DIR", self.folder.join("build"));
        match proof {
            Proof::Sysroot(crates, features) => {
                let mut flag = OsString::from("--sysroot=");
                flag.push(self.sysroot(crates)?);
                build(project)
                    .env("CARGO_ENCODED_RUSTFLAGS", flag)
                    .args(["check", "--package", "memtopo", "--no-default-features"])
                    .args(["--features", features, "--target", &self.host])
                    .capture()
            }
            Proof::Probe => build(&probe).args(["build", "--target", &self.host]).capture(),
            Proof::Linker(features) => build(&probe)
                .args(["rustc", "--release", "--crate-type", "cdylib", "--target", &self.host])
                .args(["--no-default-features", "--features", &format!("prove-no-panic,{features}")])
                // Nothing may stay undefined; the C library is there for memcpy alone.
                .args(["--", "-Clink-arg=-Wl,-z,defs", "-Clink-arg=-lc"])
                .capture(),
        }
    }

    /// A sysroot in which only these crates, and the compiler's own helpers, exist.
    fn sysroot(&self, crates: &[&str]) -> Result<PathBuf, Failure> {
        let sysroot = self.folder.join(format!("sysroot-{}", crates.join("-")));
        let libraries = sysroot.join("lib/rustlib").join(&self.host).join("lib");
        fresh(&libraries)?;
        let mut taken = 0;
        for entry in while_doing("read", &self.libraries, std::fs::read_dir(&self.libraries))? {
            let path = while_doing("read", &self.libraries, entry)?.path();
            let Some(name) = path.file_name() else { continue };
            let stem = name.to_string_lossy();
            let wanted = crates.iter().chain(&["compiler_builtins"]).any(|krate| {
                stem.strip_prefix("lib")
                    .and_then(|s| s.strip_prefix(krate))
                    .is_some_and(|s| s.starts_with('-'))
            });
            if wanted {
                let link = libraries.join(name);
                while_doing(
                    "copy",
                    &path,
                    std::fs::hard_link(&path, &link).or_else(|_| std::fs::copy(&path, &link).map(drop)),
                )?;
                taken += 1;
            }
        }
        if taken < crates.len() {
            return Err(
                format!("no libraries of {} in {}", crates.join(", "), self.libraries.display()).into()
            );
        }
        Ok(sysroot)
    }

    /// A copy of the project with a fault in it.
    fn copy(&self, fault: &Fault) -> Result<PathBuf, Failure> {
        let copy = self.folder.join("control");
        fresh(&copy)?;
        // The copy stands alone.
        let manifest: String = crate::process::read("Cargo.toml")?
            .lines()
            .filter(|line| !line.starts_with("members = ") && !line.starts_with("default-members = "))
            .flat_map(|line| [line, "\n"])
            .collect();
        write(&copy.join("Cargo.toml"), &manifest)?;
        for part in [
            "Cargo.lock",
            "README.md",
            "src",
            "tools/nostd-probe/Cargo.toml",
            "tools/nostd-probe/Cargo.lock",
            "tools/nostd-probe/src",
        ] {
            let from = root().join(part);
            if from.exists() {
                copy_tree(&from, &copy.join(part))?;
            }
        }
        let path = copy.join(&fault.file);
        let source = while_doing("read", &path, std::fs::read_to_string(&path))?;
        let edited = fault
            .plant(&source)
            .ok_or_else(|| format!("{}: no place for the fault of a control", fault.file))?;
        write(&path, &edited)?;
        Ok(copy)
    }

    /// Says which rooms can panic.
    fn narrow_down(&self) -> Result<(), Failure> {
        for (room, _) in ROOMS {
            let printed = self.attempt(Proof::Linker(room), &root())?;
            eprintln!("{room}: {}", if printed.success { "no panic" } else { "a panic can be reached" });
        }
        let printed = self.attempt(Proof::Linker("region"), &root())?;
        eprintln!("region: {}", if printed.success { "no panic" } else { "a panic can be reached" });
        Ok(())
    }
}

fn fresh(folder: &Path) -> Result<(), Failure> {
    if folder.exists() {
        while_doing("empty", folder, std::fs::remove_dir_all(folder))?;
    }
    while_doing("create", folder, std::fs::create_dir_all(folder))
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    while_doing("write", path, std::fs::write(path, text))
}

fn copy_tree(from: &Path, to: &Path) -> Result<(), Failure> {
    if !from.is_dir() {
        if let Some(parent) = to.parent() {
            while_doing("create", parent, std::fs::create_dir_all(parent))?;
        }
        return while_doing("copy", from, std::fs::copy(from, to).map(drop));
    }
    while_doing("create", to, std::fs::create_dir_all(to))?;
    for entry in while_doing("read", from, std::fs::read_dir(from))? {
        let entry = while_doing("read", from, entry)?;
        copy_tree(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}
