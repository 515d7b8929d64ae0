//! The public packages of a boot, fetched through apt into the workshop. Nothing is installed.
//!
//! apt runs with its own sources, state and cache, so that it needs no root and leaves the system's alone.

use crate::workshop::{Kernel, Workshop};
use anyhow::{Context, Result, bail, ensure};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Archive and release. The kernels of trixie-backports are unpacked only, so the rest of that release is not needed.
const SOURCES: [(Archive, &str); 4] = [
    (Archive::Main, "bookworm"),
    (Archive::Main, "bookworm-backports"),
    (Archive::Security, "bookworm-security"),
    (Archive::Main, "trixie-backports"),
];

/// An archive of Debian: where it is, the machine's own apt knows, or the environment says.
#[derive(Clone, Copy, Debug)]
enum Archive {
    Main,
    Security,
}

impl Archive {
    /// The variable that names it, and how the address of every mirror of it ends.
    const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Main => ("MEMTOPO_DEBIAN", "/debian"),
            Self::Security => ("MEMTOPO_DEBIAN_SECURITY", "/debian-security"),
        }
    }

    /// Its address.
    fn address(self) -> Result<String> {
        let (variable, ending) = self.names();
        if let Ok(address) = std::env::var(variable) {
            return Ok(address);
        }
        let known = Command::new("apt-get").args(["indextargets", "--format", "$(REPO_URI)"]).output();
        let known = known.context("apt-get")?.stdout;
        let known = String::from_utf8_lossy(&known);
        let mut known = known.lines().map(|line| line.trim_end_matches('/'));
        let found = known.find(|address| address.ends_with(ending));
        Ok(found
            .with_context(|| format!("apt knows no archive of Debian: name one in {variable}"))?
            .to_owned())
    }
}

/// The release whose emulator the captures come from.
const EMULATOR_RELEASE: &str = "bookworm-backports";

struct Apt {
    folder: PathBuf,
}

impl Apt {
    fn new(folder: PathBuf) -> Result<Self> {
        for inside in ["state/lists/partial", "cache/archives/partial", "log"] {
            std::fs::create_dir_all(folder.join(inside))?;
        }
        let mut sources = String::new();
        let signed =
            if Path::new(KEYRING).exists() { format!("[signed-by={KEYRING}] ") } else { String::new() };
        for (archive, release) in SOURCES {
            writeln!(sources, "deb {signed}{} {release} main", archive.address()?)?;
        }
        std::fs::write(folder.join("sources.list"), sources)?;
        // An empty status: every dependency counts as missing, so the fetched set stands alone.
        std::fs::write(folder.join("status"), "")?;
        Ok(Self { folder })
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let place = |inside: &str| self.folder.join(inside).display().to_string();
        let mut command = Command::new(program);
        for (key, value) in [
            ("Dir::Etc::sourcelist", place("sources.list")),
            ("Dir::Etc::sourceparts", "-".to_owned()),
            ("Dir::Etc::preferences", "-".to_owned()),
            ("Dir::Etc::preferencesparts", "-".to_owned()),
            ("Dir::State", place("state")),
            ("Dir::State::status", place("status")),
            ("Dir::Cache", place("cache")),
            ("Dir::Log", place("log")),
            ("APT::Sandbox::User", String::new()),
            ("APT::Architecture", "amd64".to_owned()),
            ("APT::Architectures", "amd64".to_owned()),
            ("Acquire::Languages", "none".to_owned()),
        ] {
            command.arg("-o").arg(format!("{key}={value}"));
        }
        command.args(arguments).current_dir(self.folder.join("cache/archives"));
        let output = command.output().with_context(|| format!("{program}: is this a Debian with apt?"))?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{program} {}: {}", arguments.join(" "), errors.trim());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The newest package whose name has this beginning and end and only a version between them.
    fn newest(&self, start: &str, end: &str) -> Result<String> {
        let names = self.run("apt-cache", &["pkgnames", start])?;
        let version = |name: &str| -> Option<Vec<u64>> {
            let middle = name.strip_prefix(start)?.strip_suffix(end)?;
            let plain =
                middle.split(['-', '+']).all(|part| part.starts_with("deb") || part.parse::<f64>().is_ok());
            let numbers = middle.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok());
            plain.then(|| numbers.collect())
        };
        let found = names.lines().filter_map(|name| Some((version(name)?, name))).max();
        let (_, name) = found.with_context(|| format!("no package {start}*{end} in the archives"))?;
        Ok(name.to_owned())
    }

    /// Downloads packages and unpacks them into one folder.
    fn unpack(&self, packages: &[&str], into: &Path) -> Result<()> {
        for package in packages {
            let name = package.split('=').next().unwrap_or(package);
            self.run("apt-get", &["download", package])?;
            let start = format!("{name}_");
            let archive = self.archives()?.into_iter().find(|path| {
                path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(&start))
            });
            extract(&archive.with_context(|| format!("{package}: apt left no file"))?, into)?;
        }
        Ok(())
    }

    fn archives(&self) -> Result<Vec<PathBuf>> {
        let folder = self.folder.join("cache/archives");
        let mut found: Vec<_> =
            std::fs::read_dir(folder)?.map(|item| Ok(item?.path())).collect::<Result<_>>()?;
        found.retain(|path| path.extension().is_some_and(|extension| extension == "deb"));
        found.sort();
        Ok(found)
    }

    fn clear(&self) -> Result<()> {
        self.archives()?.into_iter().try_for_each(|path| Ok(std::fs::remove_file(path)?))
    }
}

fn extract(archive: &Path, into: &Path) -> Result<()> {
    std::fs::create_dir_all(into)?;
    let status = Command::new("dpkg-deb").arg("-x").arg(archive).arg(into).status().context("dpkg-deb")?;
    ensure!(status.success(), "dpkg-deb -x {}: {status}", archive.display());
    Ok(())
}

/// Fetches what is not there yet; the report has one line for each item, with the reason where one is missing.
///
/// # Errors
/// The workshop cannot be written, or apt cannot be run at all.
pub fn run(workshop: &Workshop, kernels: &[Kernel]) -> Result<Vec<(String, Result<String>)>> {
    let apt = Apt::new(workshop.path("apt"))?;
    let emulator_there = workshop.emulator_root().join("usr/bin/qemu-system-x86_64").exists();
    let kernel_there = |kernel: Kernel| workshop.kernel(kernel).join("vmlinuz").exists();
    if !emulator_there || !workshop.busybox().exists() || !kernels.iter().all(|kernel| kernel_there(*kernel))
    {
        let update = ["update", "-q", "-o", "APT::Update::Error-Mode=any"];
        apt.run("apt-get", &update).context("cannot read the package lists")?;
    }
    let mut report = Vec::new();
    let mut item = |name: &str, present: bool, fetch: &dyn Fn() -> Result<String>| {
        let result = if present { Ok("present".to_owned()) } else { fetch() };
        report.push((name.to_owned(), result));
    };
    item("emulator", emulator_there, &|| emulator(&apt, workshop));
    item("busybox", workshop.busybox().exists(), &|| busybox(&apt, workshop));
    for kernel in kernels {
        item(&format!("Linux {}", kernel.number()), kernel_there(*kernel), &|| {
            unpack_kernel(&apt, workshop, *kernel)
        });
    }
    Ok(report)
}

/// The emulator with every library down to the loader, so that it runs on any release.
fn emulator(apt: &Apt, workshop: &Workshop) -> Result<String> {
    apt.clear()?;
    let release = format!("-t={EMULATOR_RELEASE}");
    apt.run(
        "apt-get",
        &["install", "--download-only", "--no-install-recommends", "-y", "-q", &release, "qemu-system-x86"],
    )?;
    let root = workshop.path("qemu.new");
    remove(&root)?;
    let archives = apt.archives()?;
    for archive in &archives {
        extract(archive, &root)?;
    }
    apt.clear()?;
    ensure!(root.join("usr/bin/qemu-system-x86_64").exists(), "the packages hold no qemu-system-x86_64");
    std::fs::rename(&root, workshop.emulator_root())?;
    let output = workshop.emulator()?.arg("--version").output().context("the emulator does not start")?;
    if !output.status.success() {
        remove(&workshop.emulator_root())?;
    }
    ensure!(
        output.status.success(),
        "the emulator does not start: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let version = String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned();
    Ok(format!("{version}, {} packages", archives.len()))
}

fn busybox(apt: &Apt, workshop: &Workshop) -> Result<String> {
    apt.clear()?;
    let root = workshop.path("busybox.new");
    apt.unpack(&["busybox-static/bookworm"], &root).or_else(|_| apt.unpack(&["busybox-static"], &root))?;
    let program =
        [root.join("bin/busybox"), root.join("usr/bin/busybox")].into_iter().find(|path| path.exists());
    std::fs::copy(program.context("the package holds no busybox")?, workshop.busybox())?;
    remove(&root)?;
    apt.clear()?;
    Ok("fetched".to_owned())
}

fn unpack_kernel(apt: &Apt, workshop: &Workshop, kernel: Kernel) -> Result<String> {
    apt.clear()?;
    let packages = match kernel {
        Kernel::V7_2 => {
            let version = "7.2.12+deb13-amd64";
            vec![format!("linux-binary-{version}"), format!("linux-modules-{version}")]
        }
        Kernel::V6_12 => vec![apt.newest("linux-image-6.12.", "-amd64")?],
        Kernel::V6_1 => vec![apt.newest("linux-image-6.1.0-", "-amd64")?],
    };
    let root = workshop.path("kernel.new");
    remove(&root)?;
    let names: Vec<&str> = packages.iter().map(String::as_str).collect();
    apt.unpack(&names, &root)?;
    apt.clear()?;
    let modules =
        [root.join("usr/lib/modules"), root.join("lib/modules")].into_iter().find(|path| path.exists());
    let modules = only_folder(&modules.context("the packages hold no modules")?)?;
    let images = [modules.join("vmlinuz"), only_file(&root.join("boot"), "vmlinuz-").unwrap_or_default()];
    let image = images.into_iter().find(|path| path.is_file()).context("the packages hold no vmlinuz")?;
    let place = workshop.kernel(kernel);
    remove(&place)?;
    std::fs::create_dir_all(&place)?;
    std::fs::rename(modules.join("kernel"), place.join("modules"))?;
    std::fs::write(place.join("package"), packages.join("\n") + "\n")?;
    // Last: its presence says that the kernel is complete.
    std::fs::rename(image, place.join("vmlinuz"))?;
    remove(&root)?;
    Ok(packages.join(", "))
}

fn remove(folder: &Path) -> Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    Ok(())
}

fn only_folder(parent: &Path) -> Result<PathBuf> {
    let mut items = std::fs::read_dir(parent)?.map(|item| Ok(item?.path())).collect::<Result<Vec<_>>>()?;
    items.retain(|path| path.is_dir());
    match items.pop() {
        Some(path) if items.is_empty() => Ok(path),
        _ => bail!("{}: expected one folder, found {}", parent.display(), items.len()),
    }
}

fn only_file(parent: &Path, start: &str) -> Option<PathBuf> {
    let items = std::fs::read_dir(parent).ok()?.filter_map(|item| Some(item.ok()?.path()));
    items
        .into_iter()
        .find(|path| path.file_name().and_then(|n| n.to_str()).is_some_and(|n| n.starts_with(start)))
}
