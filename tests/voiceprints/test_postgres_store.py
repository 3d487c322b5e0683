"""What only PostgreSQL has: its index, its connection, its rights."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.voiceprints.toys import MODEL, OTHER, measures, recording, vector, voiceprints
from voxangle.errors import StorageError
from voxangle.voiceprints import Recording, open_store

psycopg = pytest.importorskip("psycopg", reason="the extra 'postgres' is not installed")

if TYPE_CHECKING:
    from voxangle.voiceprints.postgres_store import PostgresStore

Address = Callable[[str], str]


@pytest.fixture
def indexed(postgres: Address) -> PostgresStore:
    """A store that the server searches."""
    with open_store(postgres("pgserver")) as store:
        assert store.indexed
        yield store


def scans(store: PostgresStore) -> int:
    """How often the first model's index has been looked into."""
    # A connection hands its counts over once a second at most, unless it is told to.
    with store._transaction(write=False) as sql:
        sql.rows("SELECT pg_stat_force_next_flush()")
    with store._transaction(write=False) as sql:
        ((count,),) = sql.rows("SELECT pg_stat_get_numscans('prints_near_1'::regclass)")
    return int(count)


def test_each_model_has_an_index_of_its_own_which_is_used_unless_the_search_is_exact(
    indexed: PostgresStore,
) -> None:
    indexed.put(voiceprints(300), actor="me")
    indexed.enrol("other", OTHER, [recording(5)], actor="me")
    indexed._connection.execute("ANALYZE voxangle.prints")
    with indexed._transaction(write=False) as sql:
        names = {row[0] for row in sql.rows("SELECT indexname FROM pg_indexes WHERE schemaname = 'voxangle'")}
    assert {"prints_near_1", "prints_near_2"} <= names
    prints = np.stack([_unit(vector(person)) for person in range(300)])
    found = 0
    # More often than a driver waits before it keeps a statement and its plan.
    for person in range(20):
        truth = [f"p{other}" for other in np.argsort(-prints @ _unit(vector(person, 3)))[:5]]
        for exact in (False, True):
            before = scans(indexed)
            near = indexed.search(MODEL, vector(person, 3), 5, exact=exact).neighbours
            assert scans(indexed) - before == (0 if exact else 1)
            names_found = [one.entry.name for one in near]
            assert names_found[0] == f"p{person}"
            if exact:
                assert names_found == truth
            else:
                found += len(set(names_found) & set(truth))
    assert found >= 0.9 * 20 * 5


def test_what_is_deleted_is_no_longer_found_nor_kept(indexed: PostgresStore) -> None:
    indexed.put(voiceprints(20), actor="me")
    indexed.delete(["p3"], actor="me")
    assert "p3" not in {one.entry.name for one in indexed.search(MODEL, vector(3), 20).neighbours}
    with indexed._transaction(write=False) as sql:
        ((dead,),) = sql.rows(
            "SELECT count(*) FROM prints WHERE name = 'p3' OR direction = ?::vector", _unit(vector(3))
        )
        ((left,),) = sql.rows(
            "SELECT count(*) FROM recordings r LEFT JOIN prints p ON p.number = r.print "
            "WHERE p.number IS NULL"
        )
    assert (dead, left) == (0, 0)


def test_embeddings_that_no_index_takes_are_searched_all_the_same(indexed: PostgresStore) -> None:
    from voxangle.voiceprints import Model

    wide = Model("d" * 64, "wide", 2_500)
    for person in range(5):
        one = Recording(vector(person, 0, 2_500), measures())
        indexed.enrol(f"p{person}", wide, [one], actor="me")
    (near,) = indexed.search(wide, vector(4, 1, 2_500), 1).neighbours
    assert near.entry.name == "p4"


def test_a_connection_that_broke_is_made_again(indexed: PostgresStore) -> None:
    indexed.enrol("ada", MODEL, [recording(1)], actor="me")
    pid = indexed._connection.info.backend_pid
    with psycopg.connect(indexed._address, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s)", [pid])
    with pytest.raises(StorageError, match="the database says"):
        indexed.get("ada", MODEL)
    assert indexed.get("ada", MODEL).entry.name == "ada"


def test_what_cannot_be_reached_is_told_without_its_password(postgres: Address) -> None:
    with pytest.raises(StorageError) as told:
        open_store("postgresql://me:secret@127.0.0.1:1/voices?connect_timeout=2")
    assert "postgresql://127.0.0.1/voices" in str(told.value)
    assert "secret" not in str(told.value)
    assert "see that the server runs, and that the address has its host" in str(told.value)
    with pytest.raises(StorageError, match="none of a PostgreSQL database"):
        open_store("postgresql://me:secret@[nowhere")
    with pytest.raises(StorageError, match="no voiceprints here yet"):
        open_store(postgres("pgserver"), create=False)


def test_a_user_who_may_not_make_tables_is_told(postgres: Address) -> None:
    address = postgres("pgserver")
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS clerk")
        connection.execute("CREATE ROLE clerk LOGIN")
    with pytest.raises(StorageError, match="permission denied"):
        open_store(address.replace("voxangle@", "clerk@"))


def test_a_server_without_pgvector_has_this_process_search(postgres: Address) -> None:
    with open_store(postgres("debian")) as store:
        if store.indexed:
            pytest.skip("Debian's server has pgvector here")
        store.put(voiceprints(30), actor="me")
        assert store.search(MODEL, vector(9, 2), 1).neighbours[0].entry.name == "p9"


def _unit(one: np.ndarray) -> np.ndarray:
    return (one / np.linalg.norm(one.astype(np.float64))).astype(np.float32)
