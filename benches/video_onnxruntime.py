"""People and their poses in a video, by OpenCV and ONNX Runtime: what `fresnel detect` is compared with.

Decodes, detects with YOLOX-nano, finds keypoints with PP-TinyPose (both by ONNX Runtime with its default threads),
and tracks boxes by their overlap. Prints the pictures a second of wall time, and people.

    python benches/video_onnxruntime.py CLIP yolox_nano.onnx tinypose_256x192.onnx
"""

import sys
import time

import cv2
import numpy as np
import onnxruntime
from scipy.optimize import linear_sum_assignment

SIDE = 416
MEAN = np.array([0.485, 0.456, 0.406], np.float32) * 255
DEVIATION = np.array([0.229, 0.224, 0.225], np.float32) * 255
ROWS, COLUMNS = 256, 192


def session(path):
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def grid():
    cells, sizes = [], []
    for size in (8, 16, 32):
        n = SIDE // size
        x, y = np.meshgrid(np.arange(n), np.arange(n))
        cells.append(np.stack([x, y], 2).reshape(-1, 2))
        sizes.append(np.full((n * n, 1), size))
    return np.concatenate(cells), np.concatenate(sizes)


CELLS, SIZES = grid()


def people(detector, picture):
    ratio = SIDE / max(picture.shape[:2])
    small = cv2.resize(picture, None, fx=ratio, fy=ratio)
    square = np.full((SIDE, SIDE, 3), 114, np.uint8)
    square[: small.shape[0], : small.shape[1]] = small
    given = square.transpose(2, 0, 1)[None].astype(np.float32)
    found = detector.run(None, {detector.get_inputs()[0].name: given})[0][0]
    centres, lengths = (found[:, :2] + CELLS) * SIZES, np.exp(found[:, 2:4]) * SIZES
    scores = found[:, 4] * found[:, 5]
    chosen = (scores > 0.3) & (found[:, 5:].argmax(1) == 0)
    boxes = np.concatenate([centres - lengths / 2, lengths], 1)[chosen] / ratio
    kept = cv2.dnn.NMSBoxes(boxes.tolist(), scores[chosen].tolist(), 0.3, 0.45)
    return boxes[np.array(kept, int).reshape(-1)]


def poses(estimator, picture, boxes):
    inputs, maps = [], []
    for x, y, width, height in boxes:
        scale = max(height, width * ROWS / COLUMNS) * 1.25 / (ROWS - 1)
        left = x + width / 2 - scale * (COLUMNS - 1) / 2
        top = y + height / 2 - scale * (ROWS - 1) / 2
        to_picture = np.array([[scale, 0, left], [0, scale, top]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        part = cv2.warpAffine(picture, to_picture, (COLUMNS, ROWS), flags=flags)[:, :, ::-1]
        inputs.append(((part - MEAN) / DEVIATION).transpose(2, 0, 1))
        maps.append(to_picture)
    if not inputs:
        return []
    name = estimator.get_inputs()[0].name
    heat = np.concatenate(
        [estimator.run(None, {name: one[None].astype(np.float32)})[0] for one in inputs]
    )
    found = []
    for person, to_picture in zip(heat, maps):
        keypoints = []
        for heat_map in person:
            row, column = divmod(int(heat_map.argmax()), heat_map.shape[1])
            smooth = np.log(np.maximum(cv2.GaussianBlur(heat_map, (5, 5), 0), 1e-10))
            if 1 < row < smooth.shape[0] - 2 and 1 < column < smooth.shape[1] - 2:
                slope_x = (smooth[row, column + 1] - smooth[row, column - 1]) / 2
                slope_y = (smooth[row + 1, column] - smooth[row - 1, column]) / 2
                bend_x = (smooth[row, column + 2] - 2 * smooth[row, column] + smooth[row, column - 2]) / 4
                bend_y = (smooth[row + 2, column] - 2 * smooth[row, column] + smooth[row - 2, column]) / 4
                column -= slope_x / bend_x if bend_x else 0
                row -= slope_y / bend_y if bend_y else 0
            at = np.array([column * (COLUMNS - 1) / 47, row * (ROWS - 1) / 63, 1])
            keypoints.append([*(to_picture @ at), heat_map.max()])
        found.append(keypoints)
    return found


def overlap(a, b):
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[:2] + a[2:], b[:2] + b[2:])
    shared = np.prod(np.maximum(high - low, 0))
    return shared / (np.prod(a[2:]) + np.prod(b[2:]) - shared)


def track(tracks, boxes, ids):
    costs = np.array([[1 - overlap(box, other) for other in tracks.values()] for box in boxes])
    matched = {}
    if costs.size:
        names = list(tracks)
        for row, column in zip(*linear_sum_assignment(costs)):
            if costs[row, column] < 0.8:
                matched[row] = names[column]
    return {matched.get(nth, None) or next(ids): box for nth, box in enumerate(boxes)}


def main(clip, detector, estimator):
    detector, estimator = session(detector), session(estimator)
    video, tracks, ids = cv2.VideoCapture(clip), {}, iter(range(1, 1 << 30))
    n_pictures = n_people = 0
    start = time.perf_counter()
    while True:
        there, picture = video.read()
        if not there:
            break
        boxes = people(detector, picture)
        n_people += len(poses(estimator, picture, boxes))
        tracks = track(tracks, boxes, ids)
        n_pictures += 1
    elapsed = time.perf_counter() - start
    print(f"{n_pictures} pictures, {n_people} people, {n_pictures / elapsed:.1f} pictures per second")


main(*sys.argv[1:])
