"""Convert a checkpoint of the released NSROM into one of this pipeline.

python examples/voc/convert_released.py --checkpoint released.pth --out converted.safetensors
python examples/voc/predict.py --checkpoint converted.safetensors picture.jpg
"""

from pipeline.released import main

if __name__ == "__main__":
    main()
