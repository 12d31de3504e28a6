"""Four-letter words, as kazoo's users and their monitoring read them."""

import re

from harness import check, equal, eventually

# What every answer must show; the whole texts are compared elsewhere.
_EXPECTED = {
    "conf": r"clientPort=\d+\n",
    "cons": r"^ /127\.0\.0\.1:\d+\[\d\]\(queued=",
    "crst": r"^Connection stats reset\.\n$",
    "dirs": r"datadir_size: \d+\nlogdir_size: \d+\n",
    "dump": r"^SessionTracker dump:\n",
    "envi": r"^Environment:\nzookeeper\.version=3\.9\.",
    "gtmk": r"^\d+$",
    "hash": r"^([0-9a-f]+: -?\d+\n)*$",
    "isro": r"^rw$",
    "mntr": r"^zk_version\t3\.9\.",
    "ruok": r"^imok$",
    "srst": r"^Server stats reset\.\n$",
    "srvr": r"^Zookeeper version: 3\.9\.",
    "stat": r"\nClients:\n /127\.0\.0\.1:\d+",
    "wchc": r"^0x[0-9a-f]+\n\t/",
    "wchp": r"^/\S+\n\t0x[0-9a-f]+",
    "wchs": r"^\d+ connections watching \d+ paths\nTotal watches:\d+\n?$",
}


@check("server_version is found in envi")
def server_version(world):
    equal(world.zk.server_version()[:2], (3, 9), "version")


@check("command: every word that reads is answered")
def words(world):
    world.zk.exists(world.path, watch=lambda event: None)
    wrong = []
    for word, pattern in _EXPECTED.items():
        answer = world.zk.command(word.encode())
        if not re.search(pattern, answer):
            wrong.append("%s: %r" % (word, answer[:200]))
    equal(wrong, [], "unexpected answers")


@check("mntr: keys that exporters rely on, with numbers that follow what happens")
def monitor(world):
    world.zk.exists("/")
    world.await_no_watches()
    before = world.monitor()
    equal(before["zk_server_state"], "standalone", "state")
    for key in ("zk_avg_latency", "zk_max_latency", "zk_outstanding_requests",
                "zk_approximate_data_size", "zk_open_file_descriptor_count",
                "zk_max_file_descriptor_count", "zk_packets_sent"):
        float(before[key])
    world.zk.create(world.path + "/e", b"", ephemeral=True)
    world.zk.exists(world.path + "/e", watch=lambda event: None)
    after = world.monitor()
    for key in ("zk_znode_count", "zk_ephemerals_count", "zk_watch_count"):
        equal(int(after[key]), int(before[key]) + 1, key)
    assert int(after["zk_packets_received"]) > int(before["zk_packets_received"]), "packets"
    world.client()
    more = int(after["zk_num_alive_connections"]) + 1
    eventually(lambda: int(world.monitor()["zk_num_alive_connections"]) == more, "one more")


@check("dump and cons show sessions, their ephemerals and their requests")
def dump(world):
    zk = world.zk
    zk.create(world.path + "/e", b"", ephemeral=True)
    session = "0x%x" % zk.client_id[0]
    dump = zk.command(b"dump")
    assert re.search(session + r":\n\t" + world.path + "/e", dump), dump
    cons = zk.command(b"cons")
    assert "sid=%s," % session in cons, cons
