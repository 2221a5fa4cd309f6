"""Measures what speech and the tone alphabet survive: `python -m benchmarks.speech [exact|words]`.

Each sentence goes through the codec of the phone's hop and through Opus, as in a call, with the
codecs themselves (libavcodec, libopus) and without a stack, so that the figures are those of the
audio alone. Loss is of whole 20 ms packets on the phone's hop, with silence in their place.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import Sequence

import numpy as np

from sandbox.audio import Samples
from sandbox.speech import alphabet
from sandbox.speech.local import LocalSpeech
from sandbox.speech.words import TOLERANCE, compare, fold
from tests.unit.speech.codecs import through

CODECS = {"PCMU": "pcm_mulaw", "PCMA": "pcm_alaw", "G722": "g722"}
_LETTERS = "abcdefghijklmnopqrstuvwxyz ABC 0123456789 .,!?'äöüßé€☎漢"


def lossy(samples: Samples, rate: int, share: float, dice: random.Random) -> Samples:
    """`samples` with a share of their 20 ms packets lost."""
    wave = samples.copy()
    size = rate // 50
    for start in range(0, wave.size, size):
        if dice.random() < share:
            wave[start : start + size] = 0
    return wave


def exact(messages: int = 200) -> None:
    """Messages of 1 to 40 letters, both ways through each codec and Opus."""
    columns = (
        "codec", "messages", "letters", "loss", "heard otherwise", "symbols mended",
        "letters a second",
    )  # fmt: skip
    print("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")
    for name, codec in CODECS.items():
        for loss in (0.0, 0.02):
            dice = random.Random(f"{name}{loss}")
            wrong = mended = symbols = letters = 0
            length = 0.0
            for number in range(messages):
                text = "".join(dice.choice(_LETTERS) for _ in range(dice.randint(1, 40)))
                quiet = np.zeros(4000, dtype=np.int16)
                wave = np.concatenate((quiet, alphabet.encode(text, 16000), quiet, quiet))
                if number % 2:
                    wave = lossy(through(wave, 16000, "libopus", codec), 16000, loss, dice)
                else:
                    wave = through(
                        lossy(through(wave, 16000, codec), 16000, loss, dice), 16000, "libopus"
                    )
                decoder = alphabet.Decoder(16000)
                read = decoder.feed(wave) + decoder.finish()
                heard = [item for item in read if isinstance(item, alphabet.Heard)]
                wrong += [(item.text, item.exact) for item in heard] != [(text, True)]
                mended += sum(item.mended for item in heard)
                symbols += sum(item.symbols for item in heard)
                letters += len(text)
                length += alphabet.duration(text)
            print(
                f"| {name} | {messages} | {letters} | {loss:.0%} | {wrong} "
                f"| {mended} of {symbols} | {letters / length:.1f} |",
                flush=True,
            )


def sentences(count: int) -> list[str]:
    """Sentences as they are said on the telephone, the same each time."""
    dice = random.Random(50)
    shapes = (
        "I would like to check order number {n}, please.",
        "Your {thing} will be delivered {day} at {h} o'clock.",
        "Could you tell me when the {thing} arrives?",
        "Please hold the line while I look for your {thing}.",
        "The {thing} costs {n} dollars, and we are open {day}.",
        "My name is {name}, and I called about the {thing}.",
    )
    things = ("package", "invoice", "table", "reservation", "contract", "new phone")
    days = ("Monday", "Tuesday", "tomorrow morning", "next week", "Saturday")
    return [
        shapes[number % len(shapes)].format(
            n=dice.randint(11, 99),
            h=dice.randint(2, 11),
            thing=dice.choice(things),
            day=dice.choice(days),
            name=dice.choice(("Anna Miller", "John Carter", "Susan Brown")),
        )
        for number in range(count)
    ]


async def words(count: int = 50) -> None:
    """Sentences said by Piper and recognised by Whisper, through each codec and Opus."""
    speech = LocalSpeech()
    spoken = [(text, await speech.say(text)) for text in sentences(count)]
    print("| codec | sentences | loss | word accuracy | sentences within 20 % |")
    print("|---|---|---|---|---|")
    for name, codec in CODECS.items():
        for loss in (0.0, 0.02):
            dice = random.Random(f"{name}{loss}")
            rates: list[tuple[int, float]] = []
            for text, wave in spoken:
                room = through(wave, 16000, "libopus", codec)
                heard = await speech.recognise(lossy(room, 16000, loss, dice), 16000)
                rates.append((len(fold(text)), compare(text, heard, within=False).rate))
            wrong = sum(size * rate for size, rate in rates)
            good = sum(rate <= TOLERANCE for _, rate in rates)
            total = sum(size for size, _ in rates)
            print(
                f"| {name} | {count} | {loss:.0%} | {1 - wrong / total:.1%} | {good} |", flush=True
            )
    speech.close()


def main(arguments: Sequence[str]) -> None:
    """Run what is asked for; both by default."""
    started = time.monotonic()
    if not arguments or "exact" in arguments:
        exact()
    if not arguments or "words" in arguments:
        asyncio.run(words())
    print(f"\n{time.monotonic() - started:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1:])
