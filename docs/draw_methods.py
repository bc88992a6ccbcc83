"""Draw the pictures of the methods: ``python docs/draw_methods.py`` writes docs/images/*.svg.

One style for all: what comes from images is red, what comes from measured spots is blue; a learnt
part has a full border, a frozen one a dashed border; what happens in training alone is drawn in
grey, dashed lines.
"""

from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, Rectangle

IMAGES = Path(__file__).parent / "images"
IMAGE, SPOT, RESULT, GREY = "#b3385f", "#1f6f8b", "#5b4a9c", "#6b7280"
PALE = {IMAGE: "#fbe9ef", SPOT: "#e3f1f5", RESULT: "#ece9f7", GREY: "#f3f4f6"}
STYLE = {"font.family": "DejaVu Sans", "svg.hashsalt": "histoexpr", "svg.fonttype": "path"}
WIDTH = 100.0  # of every picture, in its own units; 1 unit is as long in x as in y


class Picture:
    """A canvas 100 units wide, its origin on the left below."""

    def __init__(self, height):
        self.figure = Figure(figsize=(7.6, 7.6 * height / WIDTH), facecolor="white")
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, WIDTH), ylim=(0, height), aspect="equal")
        self.axes.axis("off")

    def text(self, x, y, text, color="#1f2933", size=9.5, **how):
        how = {"ha": "center", "va": "center", "linespacing": 1.25, **how}
        self.axes.text(x, y, text, color=color, fontsize=size, **how)

    def box(self, x, y, width, height, text, color, frozen=False):
        """A part of the model, by its centre."""
        style = "round,pad=0,rounding_size=1.2"
        self.axes.add_patch(
            FancyBboxPatch(
                (x - width / 2, y - height / 2), width, height, boxstyle=style, lw=1.3,
                ls=(0, (3, 2)) if frozen else "-", ec=color, fc=PALE[color],
            )  # fmt: skip
        )
        self.text(x, y, text)

    def arrow(self, start, end, color=GREY, training=False, both=False, bend=0.0):
        self.axes.add_patch(
            FancyArrowPatch(
                start, end, arrowstyle="<|-|>" if both else "-|>", mutation_scale=9, lw=1.2,
                color=color, ls=(0, (3, 2)) if training else "-", shrinkA=0, shrinkB=0,
                connectionstyle=f"arc3,rad={bend}",
            )  # fmt: skip
        )

    def patch(self, x, y, size=9.0, seed=0):
        """An H&E patch: nuclei on stroma."""
        rng = np.random.default_rng(seed)
        low = np.array([x, y]) - size / 2
        frame = Rectangle(low, size, size, fc="#f4c9d9", ec=IMAGE, lw=1.0)
        self.axes.add_patch(frame)
        for centre in low + size * rng.uniform(0.06, 0.94, (14, 2)):
            nucleus = Circle(centre, size * rng.uniform(0.035, 0.07), fc="#6f4a9b", ec="none")
            nucleus.set_clip_path(frame)
            self.axes.add_patch(nucleus)

    def bars(self, x, y, color, width=9.0, height=7.0, seed=0):
        """The expression of a spot."""
        heights = np.random.default_rng(seed).uniform(0.2, 1.0, 6) * height
        step = width / len(heights)
        for number, bar in enumerate(heights):
            left = x - width / 2 + number * step
            self.axes.add_patch(
                Rectangle((left, y - height / 2), 0.7 * step, bar, fc=color, ec="none")
            )

    def section(self, x, y, color, n=4, pitch=2.6, links=()):
        """The spots of a section, n x n, and links between some of them."""
        at = [(x + pitch * (i % n - (n - 1) / 2), y + pitch * (i // n - (n - 1) / 2))
              for i in range(n * n)]  # fmt: skip
        for one, other in links:
            (x0, y0), (x1, y1) = at[one], at[other]
            self.axes.plot([x0, x1], [y0, y1], color=color, lw=0.9, zorder=1)
        for centre in at:
            spot = Circle(centre, 0.33 * pitch, fc=PALE[color], ec=color, lw=1.0, zorder=2)
            self.axes.add_patch(spot)

    def space(self, x, y, radius, color, title, square=False, seed=3):
        """The space that is searched: training spots, a query and the nearest of them."""
        self.axes.add_patch(Circle((x, y), radius, fc="white", ec=GREY, lw=1.0))
        rng = np.random.default_rng(seed)
        angle, r = rng.uniform(0, 2 * np.pi, 26), 0.88 * radius * np.sqrt(rng.uniform(0, 1, 26))
        dots = np.stack([x + r * np.cos(angle), y + r * np.sin(angle)], axis=1)
        query = np.array([x - 0.12 * radius, y + 0.1 * radius])
        distance = np.linalg.norm(dots - query, axis=1)
        near = np.argsort(distance)[1:6]
        for dot in dots[near]:
            self.axes.plot(*np.stack([query, dot]).T, color=RESULT, lw=1.2, zorder=1)
        for number, dot in enumerate(dots):
            if distance[number] < 1.3:
                continue
            face = color if number in near else PALE[color]
            if square:
                shape = Rectangle(dot - 0.75, 1.5, 1.5, fc=face, ec=color, lw=0.9)
            else:
                shape = Circle(dot, 0.8, fc=face, ec=color, lw=0.9)
            self.axes.add_patch(shape)
        self.axes.add_patch(
            Rectangle(query - 0.95, 1.9, 1.9, angle=45, rotation_point="center", fc=IMAGE, ec="w")
        )
        self.text(x, y - radius - 2.2, title, GREY, 8.5)

    def save(self, name):
        path = IMAGES / f"{name}.svg"
        self.figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


def image_row(picture, y, head="projection\nhead", seed=0):
    """A patch, its backbone and the head behind it; ends at x = 52."""
    picture.patch(7, y, seed=seed)
    picture.text(7, y - 7, "patch", GREY, 8.5)
    picture.arrow((12, y), (16.5, y), IMAGE)
    picture.box(23, y, 13, 9, "backbone\n(frozen)", IMAGE, frozen=True)
    picture.arrow((29.5, y), (38, y), IMAGE)
    picture.box(45, y, 14, 9, head, IMAGE)


def result(picture, x, y, text="predicted\nexpression"):
    picture.bars(x, y, RESULT, seed=5)
    picture.text(x, y - 7.2, text, GREY, 8.5)


def contrastive(height, spot_side, bottom=12):
    """What STco, MclSTExp and GR2ST share; `spot_side` draws the spot encoder."""
    picture = Picture(height)
    top = height - 9
    image_row(picture, top)
    spot_side(picture, bottom)
    picture.box(45, bottom, 14, 9, "projection\nhead", SPOT)
    picture.text(54.3, top + 2, "$i$", IMAGE, 12)
    picture.text(54.3, bottom + 2, "$s$", SPOT, 12)
    middle = (top + bottom) / 2
    picture.arrow((45, bottom + 5), (45, top - 5), GREY, training=True, both=True)
    picture.text(43.8, middle, "contrastive loss:\nown pairs close", GREY, 8.5, ha="right")
    picture.space(71, middle, 11, SPOT, "training spots, new image")
    picture.arrow((52.5, top), (66.5, middle + 11), IMAGE, bend=-0.25)
    picture.arrow((52.5, bottom), (64, middle - 9.5), SPOT, bend=0.2)
    picture.arrow((82.8, middle), (88, middle), RESULT)
    picture.text(85, middle + 8.2, "mean of the\n200 nearest", GREY, 8.5)
    result(picture, 94, middle)
    return picture


def spot_input(picture, y, text):
    picture.bars(7, y, SPOT, seed=1)
    picture.text(7, y - 7, text, GREY, 8.5)


def stco():
    def spot_side(picture, y):
        spot_input(picture, y, "expression")
        picture.arrow((12, y), (16.5, y), SPOT)
        picture.box(23, y, 13, 9, "+ place\n(col, row)", SPOT)
        picture.arrow((29.5, y), (38, y), SPOT)

    contrastive(44, spot_side).save("stco")


def mclstexp():
    def spot_side(picture, y):
        spot_input(picture, y, "expression\n+ place")
        picture.arrow((12, y), (16.5, y), SPOT)
        picture.box(25, y, 17, 17, "", SPOT)
        every = [(5, other) for other in range(16) if other != 5]
        picture.section(25, y + 2.2, SPOT, pitch=2.7, links=every)
        picture.text(25, y - 6.3, "attention", size=8.5)
        picture.arrow((33.5, y), (38, y), SPOT)
        picture.text(25, y + 10.3, "all spots of the section", GREY, 8.5)

    contrastive(48, spot_side).save("mclstexp")


def gr2st():
    def spot_side(picture, y):
        spot_input(picture, y, "expression\n+ place + type")
        far = [(0, 10), (10, 7), (7, 13), (0, 13), (2, 12), (5, 15), (4, 11)]
        near = [(i, i + 1) for i in range(15) if i % 4 != 3] + [(i, i + 4) for i in range(12)]
        for dy, links, name in ((6.3, far, "functional"), (-6.3, near, "spatial")):
            picture.arrow((12, y + dy / 3), (17.5, y + 0.8 * dy), SPOT)
            picture.box(25, y + dy, 15, 11.6, "", SPOT)
            picture.section(25, y + dy + 1.2, SPOT, pitch=2.2, links=links)
            picture.text(25, y + dy - 4.6, name, size=8.0)
            picture.arrow((32.5, y + 0.8 * dy), (38, y + dy / 3), SPOT)

    picture = contrastive(55, spot_side, bottom=16.5)
    picture.text(25, 2, "two graphs of the section", GREY, 8.5)
    picture.save("gr2st")


def stinfer():
    picture = Picture(38)
    for y, seed, text in ((28, 0, "new patch"), (11, 4, "training patches")):
        picture.patch(7, y, seed=seed)
        picture.text(8.5, y - 7, text, GREY, 8.5)
        picture.arrow((12, y), (20, 19.5 + (y - 19.5) / 4), IMAGE)
    picture.box(27, 19.5, 14, 10, "backbone\n(frozen)", IMAGE, frozen=True)
    picture.arrow((34, 19.5), (42, 19.5), IMAGE)
    picture.space(54.5, 19.5, 12, IMAGE, "image features", square=True)
    picture.arrow((67.3, 19.5), (86, 19.5), RESULT)
    picture.text(76.5, 25, "mean measured\nexpression of the\n1,000 most alike", GREY, 8.5)
    result(picture, 93.5, 19.5)
    picture.save("stinfer")


def reg2st():
    picture = Picture(52)
    top, bottom = 38, 10
    for dx, dy, seed in ((-2.2, 2.2, 2), (0, 0, 1), (2.2, -2.2, 0)):
        picture.patch(7 + dx, top + dy, size=8, seed=seed)
    picture.text(7.5, top - 9, "patches of\na section", GREY, 8.5)
    picture.arrow((14, top), (17, top), IMAGE)
    picture.box(23, top, 12, 9, "backbone\n(frozen)", IMAGE, frozen=True)
    picture.arrow((29, top), (32.5, top), IMAGE)
    picture.box(38.5, top, 12, 9, "image\nbranch", IMAGE)
    picture.text(46.6, top + 2, "$f$", IMAGE, 12)
    picture.arrow((44.5, top), (49, top), IMAGE)
    picture.box(56, top, 14, 14, "cross-\nattention\n6 layers", RESULT)
    picture.text(56, top + 10.5, "+ place (col, row)", GREY, 8.5)
    picture.arrow((56, top + 9), (56, top + 7), GREY)
    picture.arrow((63, top), (66.5, top), RESULT)
    picture.box(73.5, top, 14, 16, "", RESULT)
    links = [(0, 6), (6, 9), (9, 3), (1, 11), (11, 14), (5, 10), (12, 7)]
    picture.section(73.5, top + 2, RESULT, pitch=2.5, links=links)
    picture.text(73.5, top - 5.8, "dynamic graph", size=8)
    picture.arrow((80.5, top + 1), (88.5, top + 1), RESULT)
    result(picture, 94.3, top + 1)
    # the projection that is the decoder's memory, and is taught
    picture.box(38.5, 23.5, 12, 7, "projection", IMAGE)
    picture.text(46.6, 25.5, "$g$", IMAGE, 12)
    picture.arrow((38.5, top - 4.5), (38.5, 27), IMAGE)
    picture.arrow((44.5, 23.5), (54, top - 7), IMAGE, bend=0.25)
    picture.bars(7, bottom, SPOT, seed=1)
    picture.text(7, bottom - 7, "expression", GREY, 8.5)
    picture.arrow((12, bottom), (32.5, bottom), SPOT, training=True)
    picture.box(38.5, bottom, 12, 8, "gene\nbranch", SPOT)
    picture.text(46.6, bottom + 2, "$s$", SPOT, 12)
    picture.arrow((38.5, bottom + 4), (38.5, 20), GREY, training=True, both=True)
    picture.text(36.8, 17, "$g$ learns to be $s$,\n$f$ to find it", GREY, 8.5, ha="right")
    picture.box(76, bottom, 22, 8, "ZINB of the counts", RESULT)
    picture.arrow((73.5, top - 8), (73.5, bottom + 4), GREY, training=True)
    picture.text(75, 22, "in training", GREY, 8.5, ha="left")
    picture.save("reg2st")


def contrastiveensemble():
    picture = Picture(45)
    middle = 25
    picture.patch(7, middle, size=10, seed=0)
    picture.axes.add_patch(Rectangle((4.5, middle - 2.5), 5, 5, fill=False, ec="white", lw=1.6))
    picture.text(7, middle - 9, "patch, in two\nfields of view", GREY, 8.5)
    picture.arrow((12.5, middle), (15.5, middle), IMAGE)
    picture.box(22, middle, 13, 9, "backbone\n(frozen)", IMAGE, frozen=True)
    picture.arrow((28.5, middle), (31.5, middle), IMAGE)
    picture.box(38.5, middle, 14, 11, "centre by\nsection,\nPCA", IMAGE)
    picture.arrow((45.5, middle + 2), (49.5, middle + 7.5), IMAGE)
    picture.arrow((45.5, middle - 2), (49.5, middle - 7.5), IMAGE)
    picture.box(57, 35, 15, 8, "linear head\n(PLS)", SPOT)
    for shift in (2.4, 1.2, 0):
        picture.box(57 + shift, 15.5 + shift, 15, 8, "", SPOT)
    picture.text(57, 15.5, "3 retrieval\nheads")
    picture.arrow((64.7, 34), (71.2, 28), SPOT)
    picture.arrow((67.2, 18), (71.2, 22), SPOT)
    picture.box(75.5, middle, 8, 7, "mix", RESULT)
    picture.arrow((79.5, middle), (82, middle), RESULT)
    picture.section(86.2, middle, RESULT, n=3, pitch=2.6)
    picture.text(86.2, middle + 6.3, "smooth", GREY, 8.5)
    picture.arrow((90.2, middle), (92.4, middle), RESULT)
    picture.bars(96.2, middle, RESULT, width=6, seed=5)
    picture.text(94, middle - 8.2, "expression,\nstd, interval", GREY, 8.5)
    picture.box(75.5, 4.5, 45, 6, "chosen and measured on patients left out", GREY)
    for x, end in ((57, 11.5), (75.5, 21.5), (86.2, 20.6)):
        picture.arrow((x, 7.5), (x, end), GREY, training=True)
    picture.save("contrastiveensemble")


if __name__ == "__main__":
    with rc_context(STYLE):
        for draw in (stco, mclstexp, gr2st, stinfer, reg2st, contrastiveensemble):
            draw()
