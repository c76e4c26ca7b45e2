//! x
use pasarela_testkit::lab::*;
use std::time::Instant;
#[test]
fn all() {
    assert!(pasarela_lab::lab_runs_here());
    for t in TOPOLOGIES {
        let a = Instant::now();
        let lab = Lab::up(t);
        let b = a.elapsed();
        let lab = match lab { Ok(l) => l, Err(e) => { println!("{} FAILED {e:?} {e}", t.name); continue } };
        let a = Instant::now();
        let m = lab.mappings().unwrap();
        if t.name == "x" { println!("{}", lab.logs()); }
        drop(lab);
        println!("{:10} up {:?} down {:?} {m:?}", t.name, b, a.elapsed());
    }
}
