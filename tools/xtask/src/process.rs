//! Programs that tasks start, files they read, and how they fail.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Why a task failed: one line for people.
#[derive(Debug)]
pub struct Failure(String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Failure {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// Adds what was being done to an input or output error.
pub fn while_doing<T>(what: &str, path: &Path, result: std::io::Result<T>) -> Result<T, Failure> {
    result.map_err(|error| Failure(format!("cannot {what} {}: {error}", path.display())))
}

/// The root folder of the repository.
pub fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).unwrap_or(own).to_owned()
}

/// The folder for everything that tasks produce.
pub fn target_dir() -> PathBuf {
    // Cargo takes a relative one from the folder it is started in, which is the root for every task.
    root().join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// The text of a file of the repository.
pub fn read(path: &str) -> Result<String, Failure> {
    let path = root().join(path);
    while_doing("read", &path, std::fs::read_to_string(&path))
}

/// The first line of a new part of the output.
pub fn section(title: &str) {
    println!("\n==== {title} {}", "=".repeat(70_usize.saturating_sub(title.len())));
}

/// A program with its arguments, to be started in the root folder.
#[derive(Debug)]
pub struct Tool(Command);

/// What a program printed, and whether it ended well.
#[derive(Debug)]
pub struct Printed {
    /// Whether the exit code is 0.
    pub success: bool,
    /// Standard output, then standard error.
    pub text: String,
}

/// Starts `program`.
pub fn tool(program: impl AsRef<OsStr>) -> Tool {
    let mut command = Command::new(program);
    command.current_dir(root());
    Tool(command)
}

/// Starts the cargo that runs this task.
pub fn cargo() -> Tool {
    let mut command = tool(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // Set for us by cargo; a nested one must not take our package for its own.
    for name in ["CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH", "CARGO_PKG_NAME"] {
        command.0.env_remove(name);
    }
    command
}

impl Tool {
    /// Adds an argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.0.arg(argument);
        self
    }

    /// Adds arguments.
    pub fn args<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.0.args(arguments);
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.0.env(name, value);
        self
    }

    /// Another folder to start in.
    pub fn dir(mut self, folder: &Path) -> Self {
        self.0.current_dir(folder);
        self
    }

    fn line(&self) -> String {
        let words = std::iter::once(self.0.get_program()).chain(self.0.get_args());
        let shown: Vec<_> = words
            .map(|word| {
                let word = word.to_string_lossy();
                let name = Path::new(&*word).file_name().map(OsStr::to_string_lossy);
                if word.starts_with('/') && word.ends_with("/cargo") {
                    name.unwrap_or_default().into_owned()
                } else {
                    word.into_owned()
                }
            })
            .collect();
        shown.join(" ")
    }

    /// Shows the command, runs it, and fails when it does.
    pub fn run(mut self) -> Result<(), Failure> {
        let line = self.line();
        println!("$ {line}");
        let status = self.0.status().map_err(|error| Failure(format!("cannot start {line}: {error}")))?;
        if status.success() { Ok(()) } else { Err(Failure(format!("{line}: {status}"))) }
    }

    /// Runs it silently and takes what it prints.
    pub fn capture(mut self) -> Result<Printed, Failure> {
        let line = self.line();
        let output = self.0.output().map_err(|error| Failure(format!("cannot start {line}: {error}")))?;
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        Ok(Printed { success: output.status.success(), text })
    }
}

/// The compiler's sysroot and its host target.
pub fn compiler() -> Result<(PathBuf, String), Failure> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let sysroot = tool(&rustc).args(["--print", "sysroot"]).capture()?.text;
    let version = tool(&rustc).arg("-vV").capture()?.text;
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .ok_or("rustc -vV names no host")?
        .to_owned();
    Ok((PathBuf::from(sysroot.trim()), host))
}

/// The installed toolchain whose name begins with `version`.
pub fn rustup_toolchain(version: &str) -> Option<String> {
    let list = tool("rustup").args(["toolchain", "list"]).capture().ok().filter(|list| list.success)?;
    let names = list.text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned);
    names.into_iter().find(|name| {
        name.strip_prefix(version).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-']))
    })
}
