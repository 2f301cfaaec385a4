#!/bin/sh
# Installs the servers that tests run against, where it may: `tests/servers.sh [zookeeper] [postgresql] [namespaces] [syslog]
# [flume] [kafka] [shells]`, default all.
# `namespaces` is what hosts of network namespaces need, `flume` the client that Flume NG's programs use, `shells` those that
# complete commands.
#
# It may as root on Debian and its kin. Elsewhere it says what is missing, and the tests that need it are skipped;
# with QANAT_REQUIRE_SERVERS=1 that is a failure. No service is started or changed: the tests start their own servers.
set -u

left_out=0

# Whether each is there. ZOOKEEPER_JAR may name a jar from elsewhere; the tests use it then.
have_zookeeper() { command -v java >/dev/null && { [ -n "${ZOOKEEPER_JAR:-}" ] || [ -e /usr/share/java/zookeeper.jar ]; }; }
have_postgresql() { command -v postgres >/dev/null || ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1; }

have_namespaces() { command -v ip >/dev/null; }
have_shells() { command -v zsh >/dev/null && command -v fish >/dev/null; }

# rsyslog and syslog-ng can't be installed beside each other, nor without becoming the machine's own: they are only unpacked.
senders=${QANAT_SENDERS:-${XDG_CACHE_HOME:-$HOME/.cache}/qanat/senders}
have_syslog() { [ -x "$senders/usr/sbin/rsyslogd" ] && [ -x "$senders/usr/sbin/syslog-ng" ] && command -v logger >/dev/null; }
# Jars that no distribution has; Maven fetches them, with what they need.
jars=${QANAT_JARS:-${XDG_CACHE_HOME:-$HOME/.cache}/qanat/jars}
have_kafka() { ls "$jars"/kafka/kafka_2.13-*.jar >/dev/null 2>&1 && command -v java >/dev/null; }
have_flume() { ls "$jars"/flume/flume-ng-sdk-*.jar >/dev/null 2>&1 && command -v javac >/dev/null; }

# Why installing would not do, if so. That is never a failure: no QANAT_REQUIRE_SERVERS makes one root, or lets a container have it.
hopeless_zookeeper() { :; }
hopeless_postgresql() { :; }
hopeless_syslog() { :; }
hopeless_shells() { :; }
hopeless_flume() { have_flume || no_maven; }
hopeless_kafka() { have_kafka || no_maven; }
no_maven() {
  python3 -c 'import urllib.request as r; r.urlopen("https://repo.maven.apache.org/maven2/org/slf4j/slf4j-simple/1.7.36/slf4j-simple-1.7.36.pom", timeout=10)' 2>/dev/null ||
    echo "Maven's central repository does not answer"
}
hopeless_namespaces() {
  if [ "$(id -u)" != 0 ]; then
    echo "network namespaces are for root"
  elif ! unshare -n true 2>/dev/null; then
    echo "the kernel, or the container, refuses network namespaces"
  fi
}

# Debian's zookeeper starts nothing (zookeeperd would); its postgresql makes and starts a cluster unless told not to.
packages_zookeeper() {
  command -v java >/dev/null || echo default-jre-headless
  [ -n "${ZOOKEEPER_JAR:-}" ] || echo zookeeper
}
packages_postgresql() { echo postgresql; }
packages_namespaces() { echo iproute2; }
packages_shells() { echo zsh fish; }
# With the libraries that they name, which have other names in other releases.
packages_syslog() {
  echo rsyslog syslog-ng-core
  apt-cache depends rsyslog syslog-ng-core 2>/dev/null | sed -n 's/^ *Depends: \(lib[^<]*\)$/\1/p' | grep -v '^libc6$' | sort -u
}
packages_flume() { echo default-jdk-headless maven flume; }
packages_kafka() { echo default-jdk-headless maven kafka; }
prepare_zookeeper() { :; }
prepare_flume() { :; }
prepare_kafka() { :; }
prepare_syslog() { :; }
prepare_namespaces() { :; }
prepare_shells() { :; }
prepare_postgresql() {
  [ -e /etc/postgresql-common/createcluster.conf ] && return
  mkdir -p /etc/postgresql-common && echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
}

# fetch_jars NAME GROUP:ARTIFACT:VERSION
fetch_jars() (
  project=$(mktemp -d) && cd "$project" || return 1
  trap 'rm -rf "$project"' EXIT
  IFS=: read -r group artifact version <<ARTIFACT
$2
ARTIFACT
  for each in "$group:$artifact:$version" org.slf4j:slf4j-simple:1.7.36; do
    echo "<dependency><groupId>${each%%:*}</groupId><artifactId>$(echo "$each" | cut -d: -f2)</artifactId>"
    echo "<version>${each##*:}</version></dependency>"
  done >dependencies
  {
    echo '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion><groupId>qanat</groupId>'
    echo "<artifactId>jars</artifactId><version>1</version><dependencies>$(cat dependencies)</dependencies></project>"
  } >pom.xml
  mkdir -p "$jars" && mvn -q -B dependency:copy-dependencies -DoutputDirectory=fetched </dev/null >/dev/null 2>&1 &&
    rm -rf "$jars/$1" && mv fetched "$jars/$1"
)

may_install() {
  command -v apt-get >/dev/null || return 1
  [ "$1" = syslog ] || [ "$(id -u)" = 0 ]
}

install_packages() {
  if [ "${2:-}" = maven ]; then
    if ! command -v mvn >/dev/null || ! command -v javac >/dev/null; then
      DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$1" "$2" </dev/null >/dev/null 2>&1 || return 1
    fi
    case $3 in
      flume) fetch_jars flume org.apache.flume:flume-ng-sdk:1.9.0 ;;
      kafka) fetch_jars kafka org.apache.kafka:kafka_2.13:3.9.1 ;;
    esac
    return
  fi
  if [ "$1" = rsyslog ]; then
    unpack_packages "$@"
    return
  fi
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" </dev/null >/dev/null 2>&1
}

unpack_packages() (
  debs=$(mktemp -d) && mkdir -p "$senders" && cd "$debs" || return 1
  trap 'rm -rf "$debs"' EXIT
  apt-get download -q "$@" >/dev/null 2>&1 || return 1
  for deb in *.deb; do dpkg -x "$deb" "$senders" || return 1; done
)

for server in ${*:-zookeeper postgresql namespaces syslog flume kafka shells}; do
  why=$("hopeless_$server")
  if [ -n "$why" ]; then
    echo "servers: $why; the tests that need them are left out" >&2
    continue
  fi
  "have_$server" && continue
  packages=$("packages_$server" | tr '\n' ' ')
  if may_install "$server"; then
    echo "servers: installing $packages"
    "prepare_$server"
    # The lists may be old or absent: the second attempt is with new ones.
    install_packages $packages || { apt-get update -qq </dev/null >/dev/null 2>&1; install_packages $packages; }
  fi
  if ! "have_$server"; then
    echo "servers: no $server here, its tests are left out; as root on Debian: apt-get install $packages" >&2
    left_out=1
  fi
done

[ "$left_out" = 0 ] || [ "${QANAT_REQUIRE_SERVERS:-}" != 1 ]
