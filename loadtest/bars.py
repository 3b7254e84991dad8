"""A plot of medians as bars, with a line from the least to the greatest value: SVG without a library."""
from xml.sax.saxutils import escape

WIDTH, LEFT, ROW, TOP = 760, 230, 30, 44


def write(path, title, values):
    """`values`: name → (median, least, greatest)."""
    scale = (WIDTH - LEFT - 70) / max(greatest for _, _, greatest in values.values())
    height = TOP + ROW * len(values) + 12
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif" font-size="13">',
           '<rect width="100%" height="100%" fill="white"/>',
           f'<text x="12" y="24" font-weight="bold">{escape(title)}</text>']
    for number, (name, (median, least, greatest)) in enumerate(values.items()):
        y = TOP + ROW * number
        middle = y + ROW / 2 - 3
        out.append(f'<text x="{LEFT - 8}" y="{middle + 4:.0f}" text-anchor="end">{escape(name)}</text>')
        out.append(f'<rect x="{LEFT}" y="{y}" width="{median * scale:.1f}" height="{ROW - 8}" fill="#4878a8"/>')
        out.append(f'<line x1="{LEFT + least * scale:.1f}" x2="{LEFT + greatest * scale:.1f}" y1="{middle:.1f}" y2="{middle:.1f}" '
                   'stroke="black"/>')
        out.append(f'<text x="{LEFT + greatest * scale + 8:.1f}" y="{middle + 4:.0f}">{median:.1f}</text>')
    path.write_text("\n".join([*out, "</svg>"]) + "\n")
