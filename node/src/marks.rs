//! temp
use std::sync::Mutex;
static M: Mutex<Vec<(u64, &'static str, u64)>> = Mutex::new(Vec::new());
pub fn mark(n: &'static str, x: u64) {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let t = t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64;
    let mut m = M.lock().unwrap();
    if m.len() < 40000 { m.push((t, n, x)); if m.len() == 40000 {
        use std::io::Write;
        let mut s = String::new();
        for (t, n, x) in m.iter() { s.push_str(&format!("{t} {} {n} {x}\n", std::process::id())); }
        std::fs::File::create(format!("/tmp/marks.{}", std::process::id())).unwrap().write_all(s.as_bytes()).unwrap();
    } }
}
