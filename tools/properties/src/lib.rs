//! What must hold for every input, whatever its bytes: each function here panics when it does not.
//!
//! The fuzz targets call these functions, one each, and a plain test of this package runs them over the seeds that
//! the builders make, over every truncation of them, and over some thousands of mutations, so that a machine
//! without a fuzzer checks them too. [`TARGETS`] is the one list of them.

pub mod containers;
pub mod cxl;
pub mod envelope;
pub mod mutate;
pub mod planning;
pub mod seeds;
pub mod tables;

/// A property with the seeds to start from.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The name of the fuzz target.
    pub name: &'static str,
    /// Panics when something that must hold does not.
    pub property: fn(&[u8]),
    /// Inputs that reach the inside, with their names.
    pub seeds: fn() -> Vec<Seed>,
    /// How many mutations of the seeds the plain test tries, and eight times as many as truncations of each.
    pub mutations: usize,
}

/// An input to start from: its name and its bytes.
pub type Seed = (&'static str, Vec<u8>);

/// Every property.
pub const TARGETS: &[Target] = &[
    Target { name: "acpidump", property: containers::acpidump, seeds: seeds::acpidump, mutations: 4000 },
    Target { name: "archive", property: containers::archive, seeds: seeds::archive, mutations: 4000 },
    Target { name: "cdat", property: tables::cdat, seeds: seeds::cdat, mutations: 4000 },
    Target {
        name: "cdat_detection",
        property: containers::cdat_detection,
        seeds: seeds::cdat_detection,
        mutations: 4000,
    },
    Target { name: "cedt", property: tables::cedt, seeds: seeds::cedt, mutations: 4000 },
    Target {
        name: "concatenated",
        property: containers::concatenated,
        seeds: seeds::concatenated,
        mutations: 4000,
    },
    Target { name: "detection", property: containers::detection, seeds: seeds::detection, mutations: 4000 },
    Target { name: "dump", property: containers::dump, seeds: seeds::dump, mutations: 500 },
    Target { name: "e820", property: tables::e820, seeds: seeds::e820, mutations: 4000 },
    Target { name: "efi_map", property: tables::efi_map, seeds: seeds::efi_map, mutations: 4000 },
    Target { name: "hmat", property: tables::hmat, seeds: seeds::hmat, mutations: 4000 },
    Target { name: "madt", property: tables::madt, seeds: seeds::madt, mutations: 4000 },
    Target {
        name: "memory_image",
        property: containers::memory_image,
        seeds: seeds::memory_image,
        mutations: 4000,
    },
    Target {
        name: "memory_map",
        property: containers::memory_map,
        seeds: seeds::memory_map,
        mutations: 4000,
    },
    Target { name: "msct", property: tables::msct, seeds: seeds::msct, mutations: 4000 },
    Target { name: "plan", property: planning::plan, seeds: seeds::plan, mutations: 200 },
    Target { name: "registers", property: cxl::registers, seeds: seeds::registers, mutations: 400 },
    Target { name: "root", property: tables::root, seeds: seeds::root, mutations: 4000 },
    Target { name: "slit", property: tables::slit, seeds: seeds::slit, mutations: 4000 },
    Target { name: "srat", property: tables::srat, seeds: seeds::srat, mutations: 4000 },
    Target { name: "translate", property: cxl::translate, seeds: seeds::translate, mutations: 4000 },
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::{Path, PathBuf};

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
    }

    /// Names in `folder` without their extension.
    fn names(folder: &Path) -> BTreeSet<String> {
        let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        entries
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
            .collect()
    }

    #[test]
    fn every_property_has_a_fuzz_target_and_a_corpus() {
        let expected: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
        assert_eq!(expected.len(), TARGETS.len(), "a name is there twice");
        assert_eq!(names(&root().join("fuzz/fuzz_targets")), expected);
        assert_eq!(names(&root().join("corpus/fuzz")), expected);
        let manifest = fs::read_to_string(root().join("fuzz/Cargo.toml")).unwrap();
        for name in &expected {
            assert!(
                manifest.contains(&format!("name = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"\n")),
                "{name}"
            );
            let source = fs::read_to_string(root().join(format!("fuzz/fuzz_targets/{name}.rs"))).unwrap();
            assert!(source.contains(&format!("::{name}(")), "{name}");
        }
    }

    #[test]
    fn the_corpus_is_what_the_builders_make() {
        for target in TARGETS {
            let folder = root().join("corpus/fuzz").join(target.name);
            let seeds = (target.seeds)();
            assert!(!seeds.is_empty(), "{}", target.name);
            let expected: BTreeSet<String> = seeds.iter().map(|(name, _)| (*name).to_owned()).collect();
            assert_eq!(names(&folder), expected, "{}: run `cargo xtask corpus`", target.name);
            for (name, bytes) in seeds {
                let stored = fs::read(folder.join(format!("{name}.bin"))).unwrap();
                assert!(stored == bytes, "{}/{name}: run `cargo xtask corpus`", target.name);
            }
        }
    }

    #[test]
    fn properties_hold_for_seeds_and_all_their_truncations() {
        for target in TARGETS {
            (target.property)(&[]);
            for (_, bytes) in (target.seeds)() {
                for end in (0..=bytes.len()).rev().step_by(8 * bytes.len() / target.mutations + 1) {
                    (target.property)(&bytes[..end]);
                }
            }
        }
    }

    #[test]
    fn properties_hold_for_mutations_of_the_seeds() {
        for target in TARGETS {
            let seeds = (target.seeds)();
            let mut mutator = mutate::Mutator::new(0x6d74_6f70);
            for round in 0..target.mutations {
                let (_, seed) = &seeds[round % seeds.len()];
                (target.property)(&mutator.mutate(seed));
            }
        }
    }
}
