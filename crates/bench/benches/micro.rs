//! Small parts of the hot paths, one at a time: `cargo bench -p hearthgate-bench --bench micro`.

fn main() {
    divan::main();
}
