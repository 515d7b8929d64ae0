//! Who may use whom inside `src/`: privacy alone cannot say it, so this reads the paths.

use crate::process::{Failure, root, while_doing};
use std::path::{Path, PathBuf};

/// The rooms from the bottom to the top. A room may use itself and the rooms of lower ranks; rooms of one rank
/// may use each other only where the last column says so.
const LAYERS: &[(&str, u8, &[&str])] = &[
    ("units", 0, &[]),
    ("error", 0, &["units"]),
    ("range", 0, &["units"]),
    ("tables", 1, &[]),
    ("region", 2, &[]),
    ("bundle", 2, &[]),
    ("topology", 3, &[]),
    ("linux", 4, &[]),
    ("policy", 5, &[]),
    ("hotplug", 5, &[]),
    ("lint", 6, &[]),
    ("render", 7, &[]),
];

/// Files of `tables` in which `alloc` may be named: a growing output.
const TABLES_WITH_ALLOC: &[&str] = &["tables/output.rs"];

/// One path to another room.
struct Use {
    line: usize,
    room: String,
}

/// Checks every file of `src/`.
pub fn run(_: &[String]) -> Result<(), Failure> {
    let src = root().join("src");
    let mut files = Vec::new();
    collect(&src, &mut files)?;
    let mut sources = Vec::new();
    for path in &files {
        let relative = path.strip_prefix(&src).unwrap_or(path).to_string_lossy().replace('\\', "/");
        sources.push((relative, while_doing("read", path, std::fs::read_to_string(path))?));
    }
    let for_tests: Vec<String> =
        sources.iter().flat_map(|(relative, text)| test_files(relative, text)).collect();
    let mut faults = Vec::new();
    let mut uses = 0_usize;
    for (relative, text) in &sources {
        // The root belongs to no room.
        if relative != "lib.rs" && !for_tests.contains(relative) {
            uses += check(relative, text, &mut faults);
        }
    }
    for fault in &faults {
        eprintln!("{fault}");
    }
    if !faults.is_empty() {
        return Err(format!("{} uses against the direction of the layers", faults.len()).into());
    }
    println!(
        "layers: {} files, {uses} uses of other rooms, all downwards; tables allocate nowhere but in their output",
        files.len()
    );
    Ok(())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    for entry in while_doing("read", folder, std::fs::read_dir(folder))? {
        let path = while_doing("read", folder, entry)?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(())
}

/// Checks one file, named relative to `src/`, and returns how many uses it has.
fn check(relative: &str, text: &str, faults: &mut Vec<String>) -> usize {
    let room = relative.split(['/', '.']).next().unwrap_or_default();
    let Some((_, rank, peers)) = LAYERS.iter().find(|(name, ..)| *name == room) else {
        faults.push(format!("src/{relative}: room `{room}` is not in the table of layers"));
        return 0;
    };
    let found = uses(relative, text);
    for Use { line, room: target } in &found {
        let allowed = match LAYERS.iter().find(|(name, ..)| name == target) {
            Some((_, lower, _)) => lower < rank || peers.contains(&target.as_str()),
            None => false,
        };
        if target != room && !allowed {
            faults.push(format!("src/{relative}:{line}: `{room}` must not use `{target}`"));
        }
    }
    if room == "tables" && !TABLES_WITH_ALLOC.contains(&relative) {
        for (line, code) in code_lines(text) {
            // An attribute may name the feature.
            if !code.trim_start().starts_with("#[") && words(code).any(|word| word == "alloc") {
                faults.push(format!("src/{relative}:{line}: `tables` must not use `alloc`"));
            }
        }
    }
    found.len()
}

/// The lines of code in front of the unit tests, numbered from 1, without comments.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let tests = test_modules(text).find(|(_, declaration)| declaration.contains('{')).map(|(line, _)| line);
    (1..)
        .zip(text.lines())
        .take(tests.unwrap_or(usize::MAX))
        .map(|(number, line)| (number, line.split("//").next().unwrap_or_default()))
        .filter(|(_, line)| !line.trim().is_empty())
}

/// The modules that exist only in unit tests: index of the line with the attribute, and the declaration.
fn test_modules(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().zip(text.lines().skip(1)).enumerate().filter_map(|(index, (attribute, module))| {
        let of_tests = attribute.starts_with("#[cfg(") && words(attribute).any(|word| word == "test");
        (of_tests && words(module).any(|word| word == "mod")).then_some((index, module))
    })
}

/// The files that a file declares as modules of unit tests.
fn test_files(relative: &str, text: &str) -> Vec<String> {
    let folder = match relative.strip_suffix("mod.rs").or_else(|| relative.strip_suffix("lib.rs")) {
        Some(folder) => folder.to_owned(),
        None => format!("{}/", relative.trim_end_matches(".rs")),
    };
    let outside = test_modules(text).filter_map(|(_, declaration)| declaration.strip_suffix(';'));
    outside
        .filter_map(|declaration| words(declaration).last())
        .map(|name| format!("{folder}{name}.rs"))
        .collect()
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty())
}

/// The rooms that a file names, by `crate::room` or by as many `super::` as lead out of its own.
fn uses(relative: &str, text: &str) -> Vec<Use> {
    // tables/srat.rs is two modules deep, tables/mod.rs one.
    let depth = relative.matches('/').count() + usize::from(!relative.ends_with("/mod.rs"));
    let out = "super::".repeat(depth);
    let mut code = String::new();
    let mut lines = Vec::new();
    for (number, line) in code_lines(text) {
        lines.push((code.len(), number));
        code.push_str(line);
        code.push('\n');
    }
    let line_of =
        |at: usize| lines.iter().rev().find(|(start, _)| *start <= at).map_or(0, |(_, number)| *number);
    let mut found = Vec::new();
    for prefix in ["crate::", out.as_str()] {
        for (at, _) in code.match_indices(prefix) {
            let before = code.get(..at).unwrap_or_default();
            // The end of a longer word, or of a chain that was already matched from its start.
            if before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            let from = at + prefix.len();
            let rest = code.get(from..).unwrap_or_default();
            found.extend(
                heads(rest)
                    .into_iter()
                    .map(|(skip, room)| Use { line: line_of(from + skip), room: room.to_owned() }),
            );
        }
    }
    found
}

/// The first name, with its position, of a path or of each path in a braced group. Items of the crate root are
/// no rooms: their names begin with a capital.
fn heads(rest: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut level = 0_u32;
    let mut expected = true;
    let mut start = None;
    for (at, c) in rest.char_indices() {
        let in_word = c.is_alphanumeric() || c == '_';
        if let (Some(from), false) = (start, in_word) {
            found.push((from, rest.get(from..at).unwrap_or_default()));
            start = None;
            if level == 0 {
                break;
            }
        }
        match c {
            '{' => level += 1,
            '}' if level <= 1 => break,
            '}' => level -= 1,
            ',' if level == 1 => expected = true,
            _ if in_word && expected => {
                expected = false;
                start = Some(at);
            }
            _ => {}
        }
    }
    found.retain(|(_, name)| name.starts_with(|c: char| c.is_lowercase()));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(relative: &str, text: &str) -> Vec<String> {
        let mut faults = Vec::new();
        check(relative, text, &mut faults);
        faults
    }

    #[test]
    fn downwards_is_allowed() {
        assert_eq!(
            faults("linux/nodes.rs", "use crate::topology::Topology;\nuse crate::{units, range};"),
            [""; 0]
        );
        assert_eq!(faults("tables/srat.rs", "use super::entries::Entries;\n// see crate::render"), [""; 0]);
        assert_eq!(
            faults("tables/srat.rs", "fn a() {}\n#[cfg(test)]\nmod tests { use crate::bundle::X; }"),
            [""; 0]
        );
    }

    #[test]
    fn upwards_sideways_and_unknown_are_told_with_the_line() {
        assert_eq!(
            faults("tables/srat.rs", "\nuse crate::topology::Topology;"),
            ["src/tables/srat.rs:2: `tables` must not use `topology`"]
        );
        assert_eq!(
            faults("tables/srat.rs", "use super::super::render::x;"),
            ["src/tables/srat.rs:1: `tables` must not use `render`"]
        );
        assert_eq!(
            faults("bundle/mod.rs", "use crate::{error::{A, B}, linux::C};"),
            ["src/bundle/mod.rs:1: `bundle` must not use `linux`"]
        );
        assert_eq!(
            faults("bundle/mod.rs", "use crate::{\n    error::{A, B},\n    linux::C,\n};"),
            ["src/bundle/mod.rs:3: `bundle` must not use `linux`"]
        );
        assert_eq!(
            faults("units.rs", "use crate::error::E;"),
            ["src/units.rs:1: `units` must not use `error`"]
        );
        assert_eq!(faults("misc.rs", ""), ["src/misc.rs: room `misc` is not in the table of layers"]);
    }

    #[test]
    fn modules_of_unit_tests_are_known() {
        let text = "#[cfg(test)]\nmod testing;\n#[cfg(all(test, feature = \"alloc\"))]\npub(crate) mod real;\nmod wire;";
        assert_eq!(test_files("lib.rs", text), ["testing.rs", "real.rs"]);
        assert_eq!(test_files("tables/mod.rs", text), ["tables/testing.rs", "tables/real.rs"]);
        assert_eq!(test_files("linux/nodes.rs", text), ["linux/nodes/testing.rs", "linux/nodes/real.rs"]);
    }

    #[test]
    fn tables_allocate_in_their_output_only() {
        let text = "impl Output for alloc::vec::Vec<u8> {}";
        assert_eq!(faults("tables/output.rs", text), [""; 0]);
        assert_eq!(faults("tables/hmat.rs", text), ["src/tables/hmat.rs:1: `tables` must not use `alloc`"]);
    }
}
