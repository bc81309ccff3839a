"""Language."""

from lrcontrol.runs.record import Objective
from lrcontrol.runs.task import ACCURACY, Task

__all__ = ["TASKS"]

HOME = "lrcontrol.training.tasks.language"
NATS = Objective("nats", "minimize")

SHAKESPEARE_DATA = "tiny Shakespeare by characters, windows of 64; 90, 5 and 5 % of the text by position"
SHAKESPEARE_SIZES = (15_685, 855, 855)
SHAKESPEARE_FILES = ("tinyshakespeare/input.txt",)
NANOGPT = "adamw(beta2=0.99, weight_decay=0.1):warmup(0.05)+cosine"
NANOGPT_SOURCE = (
    "nanoGPT, README and config/train_shakespeare_char.py: on a CPU 12 windows of 64 a batch, 2000 steps, AdamW at "
    "1e-3 with beta2 0.99 and weight decay 0.1, 100 steps of warmup, cosine, no dropout"
)

SST_DATA = "SST-2 without doubled sentences, its own splits; up to 48 words, those that train has twice"
SST_SIZES = (6907, 872, 1821)
SST_FILES = ("sst/stsa.binary.train", "sst/stsa.binary.dev", "sst/stsa.binary.test")
SUBJ_DATA = "SUBJ without doubled sentences, 60, 20 and 20 %; up to 48 words, those that train has twice"
SUBJ_SIZES = (5998, 2000, 2000)
SUBJ_FILES = ("subj/subj.all",)
KIM = "Kim 2014, arXiv:1408.5882, section 3.1: batches of 50, dropout 0.5"

MULTI30K_DATA = "Multi30k, its own splits; pairs of up to 14 words on both sides, 2000 words a language"
MULTI30K_SIZES = (18_567, 631, 662)
MULTI30K_FILES = (
    "multi30k-en-de/train.en.gz",
    "multi30k-en-de/train.de.gz",
    "multi30k-en-de/val.en.gz",
    "multi30k-en-de/val.de.gz",
    "multi30k-en-de/test_2016_flickr.en.gz",
    "multi30k-en-de/test_2016_flickr.de.gz",
)

TASKS = (
    Task(
        name="multi30k-lstm",
        kind="translation",
        data=MULTI30K_DATA,
        sizes=MULTI30K_SIZES,
        model="LSTM of 128 in both directions, LSTM of 128 with attention, dropout",
        parameters=1_035_860,
        objective=NATS,
        batch_size=32,
        full_steps=580,
        home=HOME,
        files=MULTI30K_FILES,
        base_lr=0.01,
        source=(
            "Luong, Pham, Manning 2015, arXiv:1508.04025, sections 3.1 and 4.1: dropout 0.2; one epoch "
            "of theirs, AdamW for SGD, width 128 for 1000"
        ),
        naive=5.0537,
        margin=2.5,
    ),
    Task(
        name="multi30k-transformer",
        kind="translation",
        data=MULTI30K_DATA,
        sizes=MULTI30K_SIZES,
        model="transformer, 2 and 2 layers of 64, dropout",
        parameters=621_460,
        objective=NATS,
        batch_size=32,
        full_steps=580,
        home=HOME,
        files=MULTI30K_FILES,
        method="adamw(beta2=0.98):warmup(0.15)+cosine",
        base_lr=0.006,
        source=(
            "Vaswani et al. 2017, arXiv:1706.03762, section 5: Adam with beta2 0.98, warmup, dropout "
            "0.1; one epoch, cosine for the inverse root"
        ),
        naive=5.0537,
        margin=2.0,
    ),
    Task(
        name="shakespeare-gpt-100k",
        kind="language modelling",
        data=SHAKESPEARE_DATA,
        sizes=SHAKESPEARE_SIZES,
        model="transformer, 2 layers of 64",
        parameters=112_577,
        objective=NATS,
        batch_size=12,
        full_steps=1000,
        home=HOME,
        files=SHAKESPEARE_FILES,
        method=NANOGPT,
        base_lr=0.01,
        source=f"{NANOGPT_SOURCE}; half the steps, and a rate for the smaller width",
        naive=3.3636,
        margin=1.2,
    ),
    Task(
        name="shakespeare-gpt-1600k",
        kind="language modelling",
        data=SHAKESPEARE_DATA,
        sizes=SHAKESPEARE_SIZES,
        model="transformer, 2 layers of 256",
        parameters=1_629_761,
        objective=NATS,
        batch_size=12,
        full_steps=2000,
        home=HOME,
        files=SHAKESPEARE_FILES,
        method=NANOGPT,
        base_lr=0.0025,
        source=f"{NANOGPT_SOURCE}; a rate halved with each doubled width of this series",
        naive=3.3636,
        margin=1.2,
        size="full",
    ),
    Task(
        name="shakespeare-gpt-400k",
        kind="language modelling",
        data=SHAKESPEARE_DATA,
        sizes=SHAKESPEARE_SIZES,
        model="transformer, 2 layers of 128",
        parameters=421_697,
        objective=NATS,
        batch_size=12,
        full_steps=600,
        home=HOME,
        files=SHAKESPEARE_FILES,
        method=NANOGPT,
        base_lr=0.005,
        source=f"{NANOGPT_SOURCE}; 600 steps, and a rate for the smaller width",
        naive=3.3636,
        margin=1.2,
    ),
    Task(
        name="shakespeare-lstm",
        kind="language modelling",
        data=SHAKESPEARE_DATA,
        sizes=SHAKESPEARE_SIZES,
        model="LSTM of 128",
        parameters=111_873,
        objective=NATS,
        batch_size=32,
        full_steps=490,
        home=HOME,
        files=SHAKESPEARE_FILES,
        base_lr=0.01,
        source=(
            "char-rnn, README and train.lua: width 128, windows of 50, RMSProp at 2e-3, 50 epochs; one layer for two, "
            "windows of 64 and one epoch are ours"
        ),
        naive=3.3636,
        margin=1.4,
    ),
    Task(
        name="sst-bag",
        kind="text classification",
        data=SST_DATA,
        sizes=SST_SIZES,
        model="mean of word embeddings, dropout",
        parameters=457_218,
        objective=ACCURACY,
        batch_size=50,
        full_steps=1380,
        home=HOME,
        files=SST_FILES,
        base_lr=0.01,
        source=KIM + ", ten epochs; AdamW for Adadelta",
        naive=0.4992,
        margin=0.28,
    ),
    Task(
        name="sst-cnn",
        kind="text classification",
        data=SST_DATA,
        sizes=SST_SIZES,
        model="CNN, 32 maps of 3, 4 and 5 words each, dropout",
        parameters=481_954,
        objective=ACCURACY,
        batch_size=50,
        full_steps=690,
        home=HOME,
        files=SST_FILES,
        base_lr=0.01,
        source=KIM + ", 100 maps of each width and 300 numbers a word; five epochs, AdamW for Adadelta",
        naive=0.4992,
        margin=0.23,
    ),
    Task(
        name="subj-bag",
        kind="text classification",
        data=SUBJ_DATA,
        sizes=SUBJ_SIZES,
        model="mean of word embeddings, dropout",
        parameters=529_730,
        objective=ACCURACY,
        batch_size=50,
        full_steps=1190,
        home=HOME,
        files=SUBJ_FILES,
        base_lr=0.01,
        source=KIM + ", ten epochs; AdamW for Adadelta",
        naive=0.5,
        margin=0.38,
    ),
    Task(
        name="subj-cnn",
        kind="text classification",
        data=SUBJ_DATA,
        sizes=SUBJ_SIZES,
        model="CNN, 32 maps of 3, 4 and 5 words each, dropout",
        parameters=554_466,
        objective=ACCURACY,
        batch_size=50,
        full_steps=595,
        home=HOME,
        files=SUBJ_FILES,
        base_lr=0.01,
        source=KIM + ", 100 maps of each width and 300 numbers a word; five epochs, AdamW for Adadelta",
        naive=0.5,
        margin=0.35,
    ),
    Task(
        name="wikitext-masked",
        kind="masked language modelling",
        data=(
            "WikiText-2: valid.txt is train, articles of test.txt in turn validation and test; 2000 "
            "words, 5 of 32 hidden"
        ),
        sizes=(26_635, 3808, 3698),
        model="transformer, 2 layers of 64 on a convolution",
        parameters=379_027,
        objective=NATS,
        batch_size=32,
        full_steps=600,
        home=HOME,
        files=("wikitext2-valid-test/valid.txt", "wikitext2-valid-test/test.txt"),
        method="adamw:warmup(0.05)+linear",
        base_lr=0.01,
        source=(
            "Devlin et al. 2019, arXiv:1810.04805, section A.2: warmup, linear decay, weight decay "
            "0.01; a rate for width 64"
        ),
        naive=5.5386,
        margin=1.0,
    ),
    Task(
        name="wnut17-lstm",
        kind="named entities",
        data=(
            "WNUT17 without doubled sentences, its own splits, in pieces of up to 32 words; the words "
            "that train has twice"
        ),
        sizes=(3334, 1091, 1414),
        model="LSTM of 64 in both directions on words, shapes, beginnings and endings, dropout",
        parameters=311_917,
        objective=Objective("f1", "maximize"),
        batch_size=32,
        full_steps=830,
        home=HOME,
        files=("wnut17/wnut17train.conll", "wnut17/emerging.dev.conll", "wnut17/emerging.test.annotated"),
        base_lr=0.01,
        source=(
            "Huang, Xu, Yu 2015, arXiv:1508.01991, LSTM in both directions with spelling features; "
            "AdamW for SGD at 0.1, ten epochs"
        ),
        naive=0.0266,
        margin=0.06,
    ),
)
