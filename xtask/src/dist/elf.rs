//! What a program needs of the system that it runs on, as binutils shows it.

use std::{path::Path, process::Command};

use super::Target;
use crate::{Error, output, shown};

/// The glibc that archives are said to need, and the least they can: that of the system that builds them decides, since 2.34 moved the
/// threads into libc. Debian 12, Raspberry Pi OS of 2023, Ubuntu 22.04 and RHEL 9 have it.
pub(crate) const GLIBC: (u32, u32) = (2, 34);

/// Pages of aarch64 have 4, 16 (Raspberry Pi 5) or 64 KiB; a segment that is aligned to less cannot be mapped.
const PAGE: u64 = 64 << 10;

/// Refuses a program that the systems we name cannot start, and gives the glibc that it needs.
pub(super) fn check(target: Target, program: &Path) -> Result<(u32, u32), Error> {
    let refused = |problem: String| Err(Error::Refused(format!("{}: {problem}", shown(program))));

    let symbols = output(Command::new(target.tool("objdump")).arg("-T").arg(program))?;
    let Some((glibc, symbol)) = highest_glibc(&symbols) else {
        return refused("objdump -T shows no symbol of glibc".to_owned());
    };
    let ((major, minor), (most, least)) = (glibc, GLIBC);
    if glibc > GLIBC {
        return refused(format!(
            "`{symbol}` needs glibc {major}.{minor}, and archives are to run with {most}.{least}; build on an older system"
        ));
    }
    if target == Target::Aarch64 {
        let segments = output(Command::new(target.tool("readelf")).arg("-lW").arg(program))?;
        match alignments(&segments).into_iter().min() {
            None => return refused("readelf -lW shows no segment to load".to_owned()),
            Some(least) if least < PAGE => {
                return refused(format!(
                    "a segment is aligned to {least} bytes, kernels with pages of 64 KiB need {PAGE}; link with -z max-page-size={PAGE}"
                ));
            }
            Some(_) => {}
        }
    }
    Ok(glibc)
}

/// The highest version of glibc in what `objdump -T` prints, and the symbol that needs it.
fn highest_glibc(symbols: &str) -> Option<((u32, u32), &str)> {
    let needed = symbols.lines().filter_map(|line| {
        let (_, rest) = line.split_once("GLIBC_")?;
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let mut numbers = rest[..digits].split('.').map(str::parse);
        let version = (numbers.next()?.ok()?, numbers.next()?.ok()?);
        Some((version, line.split_whitespace().next_back()?))
    });
    needed.max_by_key(|(version, _)| *version)
}

/// The alignments of the segments that are loaded, in what `readelf -lW` prints.
fn alignments(segments: &str) -> Vec<u64> {
    let loads = segments.lines().map(str::split_whitespace).filter_map(|mut words| (words.next()? == "LOAD").then_some(words));
    loads.filter_map(|words| u64::from_str_radix(words.last()?.strip_prefix("0x")?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_glibc_is_by_number() {
        let symbols = "
edgeclip:     file format elf64-x86-64

DYNAMIC SYMBOL TABLE:
0000000000000000      DF *UND*\t0000000000000000 (GLIBC_2.2.5) memcpy
0000000000000000      DF *UND*\t0000000000000000 (GCC_3.0)    _Unwind_Resume
0000000000000000  w   DF *UND*\t0000000000000000 (GLIBC_2.30) gettid
0000000000000000      DF *UND*\t0000000000000000  GLIBC_2.9   dup3
0000000000000000  w   D  *UND*\t0000000000000000  Base        __gmon_start__
";
        assert_eq!(highest_glibc(symbols), Some(((2, 30), "gettid")));
        assert_eq!(highest_glibc("edgeclip: file format elf64-x86-64\n\nno symbols\n"), None);
        assert_eq!(highest_glibc("0 DF *UND* 0 (GLIBC_PRIVATE) _dl_argv"), None);
    }

    #[test]
    fn alignments_are_those_of_loaded_segments() {
        let segments = "
  Type           Offset   VirtAddr           PhysAddr           FileSiz  MemSiz   Flg Align
  PHDR           0x000040 0x0000000000000040 0x0000000000000040 0x0002a0 0x0002a0 R   0x8
      [Requesting program interpreter: /lib/ld-linux-aarch64.so.1]
  LOAD           0x000000 0x0000000000000000 0x0000000000000000 0x1ccbc0 0x1ccbc0 R   0x10000
  LOAD           0x1ccbc0 0x00000000001cdbc0 0x00000000001cdbc0 0x5097d0 0x5097d0 R E 0x1000
  TLS            0x6d6390 0x00000000006d8390 0x00000000006d8390 0x000121 0x0001c0 R   0x8
";
        assert_eq!(alignments(segments), [0x10000, 0x1000]);
    }
}
