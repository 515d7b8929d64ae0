//! A boot as a shell script that a person can run, read and change.

use crate::case::{Case, Via};
use crate::guest::{BASE_CMDLINE, BASE_QEMU};
use std::fmt::Write;

/// What the guest of a script does: show the facts, then hand over to a shell.
const INIT: &str = r#"#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
for m in $(cat /modules/order); do insmod /modules/$m.ko; done
grep -s '' /sys/devices/system/node/online /sys/devices/system/node/has_*
grep -s '' /sys/devices/system/node/node*/cpulist /sys/devices/system/node/node*/distance
grep -s '' /sys/devices/system/node/node*/access0/initiators/*_latency
grep -s '' /sys/devices/system/node/node*/access0/initiators/*_bandwidth
grep -s '' /sys/devices/virtual/memory_tiering/memory_tier*/nodelist
dmesg | grep 'Demotion targets'
echo 'poweroff -f ends the guest.'
setsid cttyhack sh
poweroff -f
"#;

/// Shell quoting.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=,.:/+@".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// The script that boots a case; its tables are read from the folder `$TABLES`.
///
/// Everything of the host is a variable: `KERNEL`, `BUSYBOX`, `QEMU`, `TABLES`, `MODULES`.
#[must_use]
pub fn render(case: &Case) -> String {
    write(case).unwrap_or_default()
}

fn write(case: &Case) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    let out = &mut text;
    writeln!(out, "#!/bin/sh")?;
    writeln!(out, "# {}: boots a Linux kernel in an emulator on these tables.", one_line(&case.name))?;
    if !case.description.is_empty() {
        writeln!(out, "# {}", one_line(&case.description))?;
    }
    writeln!(out, "set -eu")?;
    writeln!(
        out,
        "KERNEL=${{KERNEL:?a kernel image, such as the vmlinuz of linux-binary-7.2.12+deb13-amd64}}"
    )?;
    writeln!(out, "BUSYBOX=${{BUSYBOX:-/bin/busybox}} # static, as in busybox-static")?;
    writeln!(out, "QEMU=${{QEMU:-qemu-system-x86_64}}")?;
    writeln!(out, "TABLES=${{TABLES:-.}} # the folder of the tables")?;
    if !case.modules.is_empty() {
        writeln!(
            out,
            "MODULES=${{MODULES:?a folder of unpacked modules for: {}, and what they need}}",
            case.modules.join(" ")
        )?;
        writeln!(out, "ORDER=${{ORDER:-{}}} # in which they are inserted", case.modules.join(" "))?;
    }
    writeln!(out, "\nwork=$(mktemp -d)\ntrap 'rm -rf \"$work\"' EXIT")?;
    writeln!(
        out,
        "pack() {{ (cd \"$1\" && \"$BUSYBOX\" find . | \"$BUSYBOX\" cpio -o -H newc 2>/dev/null); }}"
    )?;
    writeln!(out, "BUSYBOX=$(readlink -f \"$BUSYBOX\")\n: >\"$work/initrd\"")?;

    let mut devices = Vec::new();
    if let Some(tables) = &case.tables {
        match tables.via {
            Via::Initrd => {
                writeln!(out, "\n# Tables for the kernel's table upgrade stand in front of the initramfs.")?;
                writeln!(out, "mkdir -p \"$work/acpi/kernel/firmware/acpi\"")?;
                for file in &tables.files {
                    let stem = stem(file);
                    let target = format!("$work/acpi/kernel/firmware/acpi/{stem}.aml");
                    writeln!(out, "cp \"$TABLES\"/{} \"{target}\"", quoted(file))?;
                }
                writeln!(out, "pack \"$work/acpi\" >>\"$work/initrd\"")?;
            }
            Via::AcpiTable => {
                for file in &tables.files {
                    devices.push(format!("-acpitable file=\"$TABLES\"/{}", quoted(file)));
                }
            }
            Via::Loader => {
                let addr = tables.addr.as_deref().unwrap_or("0");
                for file in &tables.files {
                    let file = quoted(file);
                    devices.push(format!("-device loader,addr={addr},force-raw=on,file=\"$TABLES\"/{file}"));
                }
            }
        }
    }
    writeln!(out, "\nmkdir -p \"$work/root/bin\" \"$work/root/dev\" \"$work/root/proc\" \"$work/root/sys\"")?;
    writeln!(out, "mkdir -p \"$work/root/modules\"\ncp \"$BUSYBOX\" \"$work/root/bin/busybox\"")?;
    if case.modules.is_empty() {
        writeln!(out, ": >\"$work/root/modules/order\"")?;
    } else {
        writeln!(out, "echo \"$ORDER\" >\"$work/root/modules/order\"")?;
        writeln!(out, "cp \"$MODULES\"/*.ko \"$work/root/modules/\"")?;
    }
    writeln!(out, "cat >\"$work/root/init\" <<'END'\n{INIT}END\nchmod +x \"$work/root/init\"")?;
    writeln!(out, "pack \"$work/root\" >>\"$work/initrd\"\n")?;

    let cmdline = format!("{BASE_CMDLINE} {}", case.cmdline);
    write!(out, "\"$QEMU\"")?;
    let words = BASE_QEMU.iter().copied().chain(case.qemu.iter().map(String::as_str));
    for word in words {
        // An option and its value stay on a line.
        let break_before = if word.starts_with('-') { " \\\n  " } else { " " };
        write!(out, "{break_before}{}", quoted(word))?;
    }
    for device in devices {
        write!(out, " \\\n  {device}")?;
    }
    writeln!(out, " \\\n  -serial mon:stdio -kernel \"$KERNEL\" -initrd \"$work/initrd\" \\")?;
    writeln!(out, "  -append {}", quoted(cmdline.trim_end()))?;
    Ok(text)
}

fn stem(file: &str) -> &str {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.split('.').next().unwrap_or(name)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{Delivery, machine};
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    fn case(via: Via) -> Case {
        let files = vec!["input/SRAT.bin".to_owned(), "it's a table.bin".to_owned()];
        Case {
            name: "two\nnodes".to_owned(),
            qemu: machine(1024, 2),
            cmdline: "memmap=1G%1G-1+0xefffffff".to_owned(),
            tables: Some(Delivery { via, files, addr: Some("0x30000000".to_owned()) }),
            modules: vec!["kmem".to_owned(), "dax_hmem".to_owned()],
            ..Case::default()
        }
    }

    #[test]
    fn a_shell_accepts_every_script() {
        for via in [Via::Initrd, Via::AcpiTable, Via::Loader] {
            let script = render(&case(via));
            let mut shell = Command::new("sh").arg("-n").stdin(Stdio::piped()).spawn().expect("a shell");
            shell.stdin.take().expect("a pipe").write_all(script.as_bytes()).expect("it reads");
            assert!(shell.wait().expect("it ends").success(), "{script}");
        }
    }

    #[test]
    fn quotes_and_host_paths_are_kept_out_of_trouble() {
        let script = render(&case(Via::Initrd));
        assert!(script.contains(
            r#"cp "$TABLES"/'it'\''s a table.bin' "$work/acpi/kernel/firmware/acpi/it's a table.aml""#
        ));
        assert!(script.contains("# two nodes: boots"));
        assert!(script.contains("memmap=1G%1G-1+0xefffffff'\n"));
    }
}
