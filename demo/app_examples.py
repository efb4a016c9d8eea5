"""Make the photographs that `percert app` shows as its first example, from those of scikit-image.

`python demo/app_examples.py` writes them into the package; see LICENSE.txt beside them.
"""

from pathlib import Path

from demo import photograph
from PIL import Image, ImageDraw, ImageFont

FOLDER = Path(__file__).parent.parent / "src" / "percert" / "app" / "examples"


def captioned(image: Image.Image, text: str) -> Image.Image:
    """The image with words written over its foot."""
    image = image.copy()
    height = image.height // 12
    place = (height // 2, image.height - 3 * height // 2)
    font = ImageFont.load_default(size=0.8 * height)
    ImageDraw.Draw(image).text(
        place, text, fill="white", font=font, stroke_width=1, stroke_fill="black"
    )
    return image


def main() -> None:
    """A cat, a copy of it as people repost pictures, and a cup of coffee."""
    cat = photograph("chelsea.png").resize((360, 239))
    cat.save(FOLDER / "cat.jpg", quality=85)
    copy = captioned(cat.crop((6, 4, 354, 235)), "look at this cat")
    copy.resize((300, 200)).save(FOLDER / "cat-reposted.jpg", quality=60)
    photograph("coffee.png").resize((360, 240)).save(FOLDER / "coffee.jpg", quality=80)


if __name__ == "__main__":
    main()
