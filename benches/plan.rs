//! Planning: a machine of 1,024 nodes against reading every cell once and sorting every row, and a thousand small
//! machines in one process.

use criterion::{Criterion, criterion_group, criterion_main};
use memtopo::linux::Kernel;
use memtopo_benches::machine::Machine;
use std::hint::black_box;
use std::time::Duration;

fn planning(c: &mut Criterion) {
    let kernel = Kernel::default();

    let large = Machine::new(1024);
    let plan = large.plan(&kernel);
    assert_eq!(plan.masks.as_ref().map(|masks| masks.online.len()), Some(1024));
    assert!(plan.unknown.is_empty() && plan.tiers.as_ref().is_some_and(|tiers| tiers.len() > 10));
    let mut group = c.benchmark_group("plan-1024");
    group.bench_function("plain", |b| b.iter(|| black_box(&large).read_and_sort()));
    group.bench_function("memtopo", |b| b.iter(|| black_box(&large).plan(&kernel)));
    group.finish();

    let small: Vec<Machine> = (0..1000).map(|number| Machine::new(2 + number % 7)).collect();
    let mut group = c.benchmark_group("plan-small-1000");
    group.bench_function("memtopo", |b| {
        b.iter(|| small.iter().map(|machine| machine.plan(&kernel).nodes.len()).sum::<usize>());
    });
    group.finish();
}

criterion_group! {
    name = plans;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(3))
        .without_plots();
    targets = planning
}
criterion_main!(plans);
