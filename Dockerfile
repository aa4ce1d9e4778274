# The image of one node: a binary that is already built, on a base that scripts/image makes (or any image with glibc).
# Usually called by scripts/image; by hand, after `cargo build --release`: docker build --build-arg BASE=debian:bookworm-slim -t dunlin .
ARG BASE=dunlin-base
FROM ${BASE}

ARG BINARY=target/release/dunlin
COPY ${BINARY} /usr/local/bin/dunlin

# Not root: a task must not own what the node owns. By number, since not every base knows the name.
USER 10001:10001
ENV HOME=/var/lib/dunlin DUNLIN_DATA=/var/lib/dunlin PATH=/usr/local/bin:/usr/bin:/bin
WORKDIR /var/lib/dunlin
VOLUME /var/lib/dunlin
EXPOSE 7440/tcp
STOPSIGNAL SIGTERM

ENTRYPOINT ["/usr/local/bin/dunlin"]
CMD ["up"]
