//! Programs of every day still work inside, in each environment. One that is not installed is skipped by name.

use std::path::Path;
use std::time::Duration;

use dunlin_node::task::{Level, Outcome};

use super::cases::cases;
use super::harness::{Case, skip};
use super::house::{House, out};

pub(crate) const ALL: &[Case] = cases![
    shells_and_text_tools_work,
    archives_work,
    sort_uses_its_temporary_files,
    a_compiler_works_and_what_it_makes_runs,
    git_works,
    openssl_works,
    python_works_with_threads_and_subprocesses,
    python_multiprocessing_works,
    node_works,
    java_works,
    names_are_resolved_and_loopback_is_reached_with_the_hosts_network,
];

fn works(needs: &[&str], script: &str, expected: &str) {
    let folders = ["/usr/local/bin", "/usr/bin", "/bin"];
    for program in needs {
        if !folders.iter().any(|folder| Path::new(folder).join(program).exists()) {
            skip(&format!("it needs {program}, which is not installed here"));
        }
    }
    let house = House::new();
    let report = house.run(&["sh", "-c", script], |launch| {
        let scratch = launch.scratch.to_str().unwrap().to_owned();
        launch.env.insert("TMPDIR".to_owned(), format!("{scratch}/tmp"));
        launch.env.insert("HOME".to_owned(), scratch);
        launch.limits.wall = Some(Duration::from_secs(50));
    });
    let errors = String::from_utf8_lossy(&report.stderr.tail).into_owned();
    assert_eq!((report.outcome.clone(), out(&report).trim()), (Outcome::Exited(0), expected), "{errors}");
    house.no_scratch_is_left();
}

fn shells_and_text_tools_work() {
    works(&["awk", "sed", "grep"], "seq 1 100 | awk '{s+=$1} END {print s}' | sed s/50/fifty/ | grep -c fifty", "1");
    works(
        &["find", "xargs"],
        "mkdir a; touch a/1 a/2; find a -type f | xargs -n1 basename | sort | tr '\\n' ' '; id >/dev/null; date >/dev/null; hostname >/dev/null; df . >/dev/null; ps >/dev/null; :",
        "1 2",
    );
}

fn archives_work() {
    works(
        &["tar", "gzip"],
        "mkdir a; seq 1 9999 >a/b; chmod 640 a/b; tar czf a.tgz a; rm -r a; tar xzf a.tgz; stat -c %a a/b; cksum <a/b | cut -d' ' -f2",
        "640\n48888",
    );
}

fn sort_uses_its_temporary_files() {
    works(&["sort"], "seq 1 200000 | sort -S 1M -r | sort -n -S 1M | tail -1", "200000");
}

fn a_compiler_works_and_what_it_makes_runs() {
    works(&["gcc"], "echo 'int puts(const char*); int main(void){puts(\"made\");}' >a.c; gcc -O1 -o a a.c && ./a", "made");
}

fn git_works() {
    works(
        &["git"],
        "git init -q r && cd r && git config user.email a@b && git config user.name a && echo x >f && git add f && git commit -qm m && git log --format=%s && git clone -q . ../c && cat ../c/f",
        "m\nx",
    );
}

fn openssl_works() {
    works(&["openssl"], "openssl genrsa -out k 1024 2>/dev/null && printf abc | openssl dgst -sha256 -r | cut -c1-8", "ba7816bf");
}

fn python_works_with_threads_and_subprocesses() {
    works(
        &["python3"],
        "python3 -c 'import threading,subprocess,tempfile\nt=threading.Thread(target=print,args=(\"thread\",));t.start();t.join()\nprint(subprocess.check_output([\"echo\",\"child\"]).decode().strip());tempfile.TemporaryFile().write(b\"x\")'",
        "thread\nchild",
    );
}

fn python_multiprocessing_works() {
    let house = House::new();
    if house.sandbox.level() == Level::Partial {
        skip("level partial has no shared memory of its own for semaphores (/dev/shm)");
    }
    drop(house);
    works(
        &["python3"],
        "cat >m.py <<'E'\nimport multiprocessing as m\ndef f(x): return x*x\nif __name__=='__main__':\n  with m.Pool(3) as p: print(sum(p.map(f,range(10))))\nE\npython3 m.py",
        "285",
    );
}

fn node_works() {
    works(
        &["node"],
        "node -e 'require(\"fs\").promises.writeFile(\"f\",\"x\").then(()=>require(\"child_process\").exec(\"cat f\",(e,o)=>console.log(o+[1,2].length)))'",
        "x2",
    );
}

fn java_works() {
    works(&["java"], "java -version 2>&1 | grep -c -i version", "1");
}

fn names_are_resolved_and_loopback_is_reached_with_the_hosts_network() {
    works(
        &["python3"],
        "python3 -c 'import socket\na=socket.getaddrinfo(\"localhost\",0);s=socket.socket();s.bind((\"127.0.0.1\",0));s.listen();c=socket.create_connection(s.getsockname());print(\"reached\")'",
        "reached",
    );
}
