//! Where the laboratory keeps what it fetched and made, and how its emulator is started.

use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A kernel that the laboratory can boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// Linux 7.2.
    V7_2,
    /// Linux 6.12.
    V6_12,
    /// Linux 6.1.
    V6_1,
}

impl Kernel {
    /// Every kernel, the one under study first.
    pub const ALL: [Self; 3] = [Self::V7_2, Self::V6_12, Self::V6_1];

    /// The number as `memtopo plan --kernel` takes it.
    #[must_use]
    pub fn number(self) -> &'static str {
        match self {
            Self::V7_2 => "7.2",
            Self::V6_12 => "6.12",
            Self::V6_1 => "6.1",
        }
    }

    /// What a capture of this kernel is called.
    #[must_use]
    pub fn observed_file(self) -> &'static str {
        match self {
            Self::V7_2 => "observed.json",
            Self::V6_12 => "observed-6.12.json",
            Self::V6_1 => "observed-6.1.json",
        }
    }
}

impl std::str::FromStr for Kernel {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|kernel| kernel.number() == text);
        found.ok_or_else(|| format!("kernel {text}: expected 7.2, 6.12 or 6.1"))
    }
}

/// The folder of the laboratory, `target/lab` unless told otherwise.
#[derive(Clone, Debug)]
pub struct Workshop {
    root: PathBuf,
}

impl Workshop {
    /// The workshop in `root`; without one, in the build folder of the project.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn open(root: Option<PathBuf>) -> Result<Self> {
        let root = root.unwrap_or_else(|| project().join("target/lab"));
        std::fs::create_dir_all(&root).with_context(|| root.display().to_string())?;
        let root = root.canonicalize().with_context(|| root.display().to_string())?;
        Ok(Self { root })
    }

    /// A place inside the workshop.
    #[must_use]
    pub fn path(&self, inside: &str) -> PathBuf {
        self.root.join(inside)
    }

    /// The folder of an unpacked kernel: `vmlinuz` and `modules/`.
    #[must_use]
    pub fn kernel(&self, kernel: Kernel) -> PathBuf {
        self.root.join("kernels").join(kernel.number())
    }

    /// The static busybox of the guest.
    #[must_use]
    pub fn busybox(&self) -> PathBuf {
        self.root.join("busybox")
    }

    /// Root of the unpacked emulator.
    #[must_use]
    pub fn emulator_root(&self) -> PathBuf {
        self.root.join("qemu")
    }

    /// The emulator with its own loader and libraries, so that nothing has to be installed. `MEMTOPO_LAB_QEMU` names
    /// another one.
    ///
    /// # Errors
    /// There is none.
    pub fn emulator(&self) -> Result<Command> {
        if let Some(program) = std::env::var_os("MEMTOPO_LAB_QEMU") {
            return Ok(Command::new(program));
        }
        let root = self.emulator_root();
        let program = root.join("usr/bin/qemu-system-x86_64");
        ensure!(program.exists(), "no emulator in {}: run `lab fetch`", root.display());
        let libraries = ["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"];
        let libraries: Vec<_> =
            libraries.iter().map(|folder| root.join(folder).display().to_string()).collect();
        let loaders = ["lib64", "usr/lib64"].map(|folder| root.join(folder).join("ld-linux-x86-64.so.2"));
        let loader = loaders.into_iter().find(|path| path.exists()).context("the emulator has no loader")?;
        let mut command = Command::new(loader);
        command.arg("--library-path").arg(libraries.join(":")).arg(program);
        for data in ["usr/share/qemu", "usr/share/seabios"] {
            command.arg("-L").arg(root.join(data));
        }
        command.env("QEMU_MODULE_DIR", root.join("usr/lib/x86_64-linux-gnu/qemu"));
        Ok(command)
    }

    /// The bytes of a kernel module, unpacked, with the modules that it needs first.
    ///
    /// # Errors
    /// The kernel has no such module, or it cannot be unpacked.
    pub fn modules(&self, kernel: Kernel, wanted: &[String]) -> Result<Vec<(String, Vec<u8>)>> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let mut index = Vec::new();
        list_modules(&self.kernel(kernel).join("modules"), &mut index)?;
        let mut loaded: Vec<(String, Vec<u8>)> = Vec::new();
        for name in wanted {
            add_module(name, &index, &mut loaded, 0)?;
        }
        Ok(loaded)
    }
}

/// The folder of the project.
fn project() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).unwrap_or(own).to_owned()
}

fn list_modules(folder: &Path, index: &mut Vec<(String, PathBuf)>) -> Result<()> {
    for item in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = item?.path();
        if path.is_dir() {
            list_modules(&path, index)?;
        } else if let Some((name, _)) =
            path.file_name().and_then(|name| name.to_str()).and_then(|name| name.split_once(".ko"))
        {
            index.push((name.replace('-', "_"), path.clone()));
        }
    }
    Ok(())
}

fn add_module(
    name: &str,
    index: &[(String, PathBuf)],
    loaded: &mut Vec<(String, Vec<u8>)>,
    depth: u32,
) -> Result<()> {
    let name = name.replace('-', "_");
    if loaded.iter().any(|(known, _)| *known == name) {
        return Ok(());
    }
    ensure!(depth < 16, "module {name}: dependencies are too deep");
    let Some((_, path)) = index.iter().find(|(known, _)| *known == name) else {
        bail!("the kernel has no module {name}");
    };
    let bytes = unpacked(path)?;
    for needed in needs(&bytes) {
        add_module(&needed, index, loaded, depth + 1)?;
    }
    loaded.push((name, bytes));
    Ok(())
}

fn unpacked(path: &Path) -> Result<Vec<u8>> {
    if path.extension().is_none_or(|extension| extension != "xz") {
        return std::fs::read(path).with_context(|| path.display().to_string());
    }
    let output = Command::new("xz").arg("-dc").arg(path).output().context("xz")?;
    ensure!(output.status.success(), "xz -dc {}: {}", path.display(), output.status);
    Ok(output.stdout)
}

/// The `depends=` line of a module's information section.
fn needs(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(start) = module.windows(KEY.len()).position(|window| window == KEY) else {
        return Vec::new();
    };
    let value = module[start + KEY.len()..].split(|byte| *byte == 0).next().unwrap_or_default();
    let text = String::from_utf8_lossy(value);
    text.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_needs_of_a_module_are_read_from_its_information() {
        let module = b"\x7fELF\0license=GPL v2\0depends=dax,device_dax\0name=kmem\0";
        assert_eq!(needs(module), ["dax", "device_dax"]);
        assert_eq!(needs(b"\0depends=\0name=dax\0"), Vec::<String>::new());
        assert_eq!(needs(b"ELF"), Vec::<String>::new());
    }

    #[test]
    fn kernels_go_by_number() {
        for kernel in Kernel::ALL {
            assert_eq!(kernel.number().parse(), Ok(kernel));
        }
        assert!("5.15".parse::<Kernel>().is_err());
    }
}
