//! What the compiler made of the tiles, read from this very program: AVX-VNNI's encoding cannot be run on most machines that test it.

use std::process::Command;

use super::*;

/// The instructions of the functions whose mangled names contain `part`.
fn disassembly(part: &str) -> Vec<String> {
    let program = std::env::current_exe().unwrap();
    let output = |command: &mut Command| {
        let done = command.arg(&program).output();
        let done =
            done.unwrap_or_else(|error| panic!("{command:?}: {error}; binutils, which every C compiler brings, are needed"));
        assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    };
    let mut instructions = Vec::new();
    for line in output(Command::new("nm").arg("--print-size")).lines().filter(|line| line.contains(part)) {
        let mut fields = line.split(' ');
        let mut number = || u64::from_str_radix(fields.next().unwrap(), 16);
        let (Ok(start), Ok(size)) = (number(), number()) else { continue };
        if !line.contains(" t ") && !line.contains(" T ") {
            continue;
        }
        let range = [format!("--start-address={start}"), format!("--stop-address={}", start + size)];
        let listing = output(Command::new("objdump").args(["--disassemble", "--no-show-raw-insn"]).args(range));
        instructions.extend(listing.lines().filter_map(|line| line.split_once(":\t")).map(|(_, text)| text.trim().to_owned()));
    }
    instructions
}

/// Whether only EVEX, the encoding of AVX-512, can say this.
fn is_evex(instruction: &str) -> bool {
    let registers = (16..32).any(|i| ["xmm", "ymm"].iter().any(|kind| instruction.contains(&format!("%{kind}{i}"))));
    registers || instruction.contains("zmm") || instruction.contains("{1to") || instruction.contains("{%k")
}

#[test]
fn avx_vnni_is_encoded_as_its_machines_know_it() {
    // Named, so that both are in this program.
    let tables = [&avx_vnni::vex::KERNELS, &avx_vnni::evex::KERNELS];
    assert!(tables.iter().all(|kernels| kernels.tiles.int8.len() == 6));
    let dots = |listing: &[String]| listing.iter().filter(|text| text.contains("vpdpbusd")).count();
    let vex = disassembly("avx_vnni3vex4int8");
    let evex = disassembly("avx_vnni4evex4int8");
    // 6 heights, each of which has 2 dots a row, in 8 and in 4 bits.
    assert!(dots(&vex) >= 2 * 2 * (1 + 2 + 3 + 4 + 5 + 6), "{} vpdpbusd", dots(&vex));
    for text in &vex {
        assert!(!text.contains("vpdpbusd") || text.starts_with("{vex}"), "{text}");
        assert!(!is_evex(text), "{text}");
    }
    assert_eq!(dots(&evex), dots(&vex), "one source");
    assert!(evex.iter().all(|text| !text.starts_with("{vex}")));
    println!("vpdpbusd: {} in VEX, {} in EVEX", dots(&vex), dots(&evex));
}

#[test]
fn avx2_has_nothing_newer() {
    assert!(avx2::KERNELS.tiles.int8.len() == 6);
    for part in ["avx24int8", "avx24int4", "avx25float", "avx24rows"] {
        let listing = disassembly(part);
        assert!(listing.iter().any(|text| text.contains("ymm")), "{part}: {} instructions", listing.len());
        for text in &listing {
            assert!(!is_evex(text) && !text.contains("vpdp"), "{part}: {text}");
        }
    }
}

/// Every instruction of AVX and of what came after it has a name with a v, as nothing older that is found here has.
#[test]
fn scalar_tiles_have_no_avx() {
    assert!(scalar().tiles.int8.len() == 2);
    for part in ["scalar4int8", "scalar5float"] {
        let listing = disassembly(part);
        assert!(listing.len() > 20, "{part}: {} instructions", listing.len());
        for text in &listing {
            assert!(!text.starts_with('v') && !text.contains("ymm") && !is_evex(text), "{part}: {text}");
        }
    }
}
