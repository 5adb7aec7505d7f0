"""The race's problems on Python's reference: the text, the gradients, the networks against plain NumPy, and that they are learnt."""

import hashlib
import sys
import types
from pydoc_data.topics import topics

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradxform as gx
from gradxform._errors import ProblemError
from gradxform.race import _contestants, _problem, _protocol
from gradxform.race._settings import Settings
from gradxform.race._trainer import Job, Trainer, Updater
from gradxform.race.problems import _corpus, lstm, skipgram, text

WHOLE = "\n\n".join(topics[name] for name in sorted(topics))
NAMES = ["lstm", "skipgram", "text"]
CHARACTERS = {"lstm": lstm, "text": text}
FALLS = {"lstm": ("adam", 0.02, 3.3), "skipgram": ("adam", 0.05, 3.5), "text": ("adam", 0.01, 3.3)}  # from 4.57, 4.16, 4.57


@pytest.fixture(scope="module")
def problems():
    return {name: _problem.load(name) for name in NAMES}


@pytest.fixture(scope="module")
def start(problems):
    """Of each problem: parameters and a batch."""
    return {name: (p.init(jax.random.key(1)), p.batch(_problem.batch_rng(3, 5), 5)) for name, p in problems.items()}


# The text


def test_the_parts_of_the_text_are_the_whole_and_share_nothing():
    corpus = _corpus.corpus()
    train, validation, test = (part.split("\n\n") for part in corpus[:3])
    assert sorted(train + validation + test) == sorted(set(WHOLE.split("\n\n")))  # each paragraph once
    assert len(train) == pytest.approx(8 * len(validation), abs=8)
    assert len(train) == pytest.approx(8 * len(test), abs=8)


@pytest.mark.parametrize("name", NAMES)
def test_the_data_say_which_they_are(name, problems):
    digest = hashlib.sha256(WHOLE.encode()).hexdigest()[:12]
    assert digest in problems[name].data
    assert digest in problems[name].description


def test_characters_and_their_numbers():
    numbers = _corpus.codes("a\n~é")
    assert [*map(_corpus.ALPHABET.find, "a\n~"), _corpus.SYMBOLS - 1] == list(numbers)
    assert "".join((_corpus.ALPHABET + "?")[i] for i in _corpus.codes("def f(x): ...\n")) == "def f(x): ...\n"


def test_without_the_text_the_error_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(ProblemError, match=r"pydoc_data\.topics, is not in this Python"):
        _corpus.corpus.__wrapped__()


# Batches and starting points


@pytest.mark.parametrize("name", NAMES)
def test_data_and_weights_depend_on_seed_and_step_alone(name, problems, start):
    again = _problem.load(name)
    params, batch = again.init(jax.random.key(1)), again.batch(_problem.batch_rng(3, 5), 5)
    for one, other in zip(jax.tree.leaves(start[name]), jax.tree.leaves((params, batch)), strict=True):
        np.testing.assert_array_equal(one, other)
    other = problems[name].batch(_problem.batch_rng(3, 6), 6)
    assert any((a != b).any() for a, b in zip(jax.tree.leaves(batch), jax.tree.leaves(other), strict=True))


@pytest.mark.parametrize("name", CHARACTERS)
def test_pieces_are_of_the_training_text_and_the_next_character_follows(name, start):
    x, y = start[name][1]
    train = _corpus.corpus().train
    written = lambda numbers: "".join((_corpus.ALPHABET + "\0")[i] for i in numbers)
    plain = "".join(c if c in _corpus.ALPHABET else "\0" for c in train)
    for before, after in zip(x, y, strict=True):
        assert written([*before, after[-1]]) in plain
        np.testing.assert_array_equal(before[1:], after[:-1])


def test_pairs_are_near_and_the_others_are_drawn_by_frequency():
    words = skipgram._Words(_corpus.corpus().train)
    stream = np.arange(words.share.size, dtype=np.int32)  # each word once, so that a distance can be read off
    word, near = words.pairs(stream, np.random.default_rng(0), 200_000)
    away = near[:, 0] - word
    assert set(away) == {d for d in range(-skipgram.WINDOW, skipgram.WINDOW + 1) if d}
    share = words.share**0.75 / (words.share**0.75).sum()
    found = np.bincount(near[:, 1:].ravel(), minlength=share.size) / near[:, 1:].size
    assert np.abs(found - share).max() < 5 * np.sqrt(share.max() / near[:, 1:].size)
    kept = np.bincount(words.of(_corpus.corpus().train), minlength=share.size)
    assert kept[0] < 0.35 * words.share[0] * (kept / np.minimum(1, np.sqrt(skipgram.OFTEN / words.share))).sum()


# Losses


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_those_of_finite_differences(name, problems, start, x64):
    params, batch = start[name]
    wide = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), params)
    rng = np.random.default_rng(0)
    wide = jax.tree.map(lambda x: x + 0.1 * rng.normal(size=x.shape), wide)  # away from zeros and ones
    ahead = jax.tree.map(lambda x: rng.normal(size=x.shape), wide)
    with jax.numpy_dtype_promotion("standard"):
        loss = jax.jit(lambda t: problems[name].loss(jax.tree.map(lambda x, d: x + t * d, wide, ahead), batch))
        slope = jax.jit(jax.grad(loss))(0.0)
        assert float(slope) == pytest.approx(float(loss(1e-5) - loss(-1e-5)) / 2e-5, rel=1e-6)


@pytest.mark.parametrize("name", CHARACTERS)
def test_at_first_all_characters_are_about_as_likely(name, problems, start):
    found = problems[name].evaluate(start[name][0])
    assert set(found) == {"loss", "acc", "test_loss", "test_acc"}
    assert float(found["loss"]) == pytest.approx(np.log(_corpus.SYMBOLS), rel=0.03)
    assert float(found["test_loss"]) == pytest.approx(np.log(_corpus.SYMBOLS), rel=0.03)


def test_at_first_no_word_is_near_another(problems, start):
    found = problems["skipgram"].evaluate(start["skipgram"][0])
    assert float(found["loss"]) == pytest.approx((1 + skipgram.NEGATIVES) * np.log(2), rel=1e-6)


def test_the_loss_of_word_vectors_is_that_of_negative_sampling(start):
    (word, near), rng = start["skipgram"][1], np.random.default_rng(0)
    params = jax.tree.map(lambda x: rng.normal(size=x.shape), start["skipgram"][0])
    z = np.einsum("bd,bnd->bn", params["word"][word], params["near"][near])
    probable = 1 / (1 + np.exp(-z))
    expected = -(np.log(probable[:, 0]) + np.log(1 - probable[:, 1:]).sum(axis=1)).mean()
    assert float(skipgram.loss(params, (word, near))) == pytest.approx(skipgram.BATCH * expected, rel=1e-5)


@pytest.mark.parametrize("name", CHARACTERS)
def test_the_networks_do_not_look_ahead(name, start):
    params, (x, _) = start[name]
    other = np.array(x)
    other[:, 20] = (other[:, 20] + 1) % _corpus.SYMBOLS
    before, after = (np.asarray(CHARACTERS[name].logits(params, some)) for some in (x, other))
    np.testing.assert_array_equal(before[:, :20], after[:, :20])
    assert (np.abs(before[:, 20:] - after[:, 20:]).max(axis=(0, 2)) > 0).all()  # and it remembers


def test_the_lstm_is_an_lstm(start):
    params, (x, _) = start["lstm"]
    params = {name: np.asarray(value, np.float64) for name, value in params.items()}
    sigmoid = lambda a: 1 / (1 + np.exp(-a))
    hidden = cell = np.zeros((len(x), lstm.WIDTH))
    for place in range(lstm.LENGTH):
        gates = params["characters"][x[:, place]] @ params["input"] + hidden @ params["recurrent"] + params["bias"]
        into, keep, new, out = np.split(gates, 4, axis=1)
        cell = sigmoid(keep) * cell + sigmoid(into) * np.tanh(new)
        hidden = sigmoid(out) * np.tanh(cell)
    expected = hidden @ params["scores"] + params["scores_bias"]
    np.testing.assert_allclose(lstm.logits(start["lstm"][0], x)[:, -1], expected, rtol=1e-4, atol=1e-5)


def test_attention_is_attention_and_knows_distances_only(start):
    layer, rng = start["text"][0]["layers"][0], np.random.default_rng(0)
    h = rng.normal(size=(2, 12, text.WIDTH)).astype(np.float32)
    angle = np.arange(12)[:, None] * text.SLOWEST ** (-np.arange(8) / 8)
    expected = np.zeros((2, 12, text.WIDTH))
    for head in range(text.HEADS):
        columns = lambda i, head=head: h @ layer["query_key_value"].reshape(text.WIDTH, 3, text.HEADS, -1)[:, i, head]
        q, k = ((c[..., :8] + 1j * c[..., 8:]) * np.exp(1j * angle) for c in (columns(0), columns(1)))  # pairs as complex numbers
        scores = np.real(np.einsum("bld,bmd->blm", q, k.conj())) / 4
        weights = np.exp(scores) * np.tri(12)
        at = slice(16 * head, 16 * head + 16)
        expected[..., at] = weights / weights.sum(axis=-1, keepdims=True) @ columns(2)
    np.testing.assert_allclose(text._attention(layer, h, text.HEADS), expected @ layer["attended"], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_data_are_arguments_and_nothing_random_is_compiled(name, problems, start):
    jaxpr = jax.make_jaxpr(jax.value_and_grad(problems[name].loss))(*start[name])
    assert sum(np.size(c) for c in jaxpr.consts) < 20_000  # masks and angles; the text has hundreds of thousands
    assert "threefry" not in str(jaxpr)
    assert "random" not in str(jaxpr)


# Racing


@pytest.mark.parametrize("name", NAMES)
def test_the_loss_falls(name, problems):
    optimizer, rate, below = FALLS[name]
    trainer = Trainer(problems[name], Settings(name, steps=40, seeds=1, rates=1, schedule="cosine"))
    updater = Updater(_contestants.choose(optimizer)[0], problems[name].loss)
    (run,) = trainer.train(updater, [Job(rate, 0)])
    assert run.losses[-1] < below
    assert run.scores[-1]["test_loss"] < below + 0.1


@pytest.mark.parametrize("name", NAMES)
def test_their_grids_stand_where_those_of_the_digits_do(name, problems, monkeypatch):
    asked = []
    monkeypatch.setattr(_protocol, "tune", lambda try_rates, centre, count: asked.append(centre) or grid)
    monkeypatch.setattr(_protocol, "_summary", lambda *args: None)
    grid = _protocol.Grid(1.0, {}, 0)
    trainer = types.SimpleNamespace(problem=problems[name], settings=Settings(name, 10, 1, 1, "cosine"))
    for optimizer in ("sgd", "adam", "lion", "muon", "polyak_sgd"):
        _protocol.compete(_contestants.choose(optimizer)[0], trainer, _protocol.Watch())
    assert asked == [0.1, 0.01, 0.001, 0.03, 3.0]


DENSE = {"ssbfgs", "ssbroyden"}
"""Of fewer parameters than these problems have."""


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore:add_noise. without a `key`")
def test_every_optimizer_can_be_raced_on_them(name, problems, start):
    problem, (params, batch) = problems[name], start[name]
    value, grads = jax.eval_shape(jax.value_and_grad(problem.loss), params, batch)
    for contestant in _contestants.choose([name for name in gx.names() if name not in DENSE]):
        updater = Updater(contestant, problem.loss)
        state = jax.eval_shape(updater.init, params)
        after = jax.eval_shape(updater.one, np.float32(0.1), value, grads, state, params, batch)
        assert jax.tree.map(lambda x: (x.shape, x.dtype), after[0]) == jax.tree.map(lambda x: (x.shape, x.dtype), params)
